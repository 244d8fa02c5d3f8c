//! Between trees that know places, and JSON.

use serde_json::{Map, Number, Value as Json};

use crate::profile::tree::{Node, Place, Value};

/// What nests deeper is no object of ours. Readers of JSON stop at the same depth.
const DEEPEST: usize = 128;

/// The tree as JSON. Keys that are no text are left out.
pub(crate) fn of_tree(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Integer(number) => Number::from_i128(*number).map_or(Json::Null, Json::Number),
        Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Text(text) => Json::String(text.clone()),
        Value::List(list) => Json::Array(list.iter().map(of_tree).collect()),
        Value::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                if let Value::Text(key) = &key.value {
                    map.insert(key.clone(), of_tree(value));
                }
            }
            Json::Object(map)
        }
    }
}

/// JSON as a tree without places. There is none if it nests too deep.
pub(super) fn to_tree(value: &Json) -> Option<Node> {
    tree(value, DEEPEST)
}

/// A node that stands where another one did.
pub(super) fn node(value: Value, place: Place) -> Node {
    Node { value, place }
}

fn tree(value: &Json, depth: usize) -> Option<Node> {
    let depth = depth.checked_sub(1)?;
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i128() {
            Some(number) => Value::Integer(number),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(
            list.iter()
                .map(|item| tree(item, depth))
                .collect::<Option<_>>()?,
        ),
        Json::Object(map) => Value::Map(
            map.iter()
                .map(|(key, value)| {
                    let key = node(Value::Text(key.clone()), Place::START);
                    Some((key, tree(value, depth)?))
                })
                .collect::<Option<_>>()?,
        ),
    };
    Some(node(value, Place::START))
}
