//! The rules of a kind that its schema has no keywords for, as the API server evaluates them.

use kube::core::cel::validate_compiled;
use serde_json::Value as Json;

use super::crds::Definition;
use crate::profile::fields::Problems;
use crate::profile::tree::{Node, Place, Value};

/// Evaluates the rules of a kind for an object whose types are right.
pub(super) fn check(
    definition: &Definition,
    object: &Json,
    root: &Node,
    problems: &mut Problems<'_>,
) {
    let Err(errors) = validate_compiled(definition.rules(), object, None) else {
        return;
    };
    for error in errors.as_slice() {
        let place = place(root, &error.field_path);
        let (message, help) = match error.message.split_once(": ") {
            Some((message, help)) => (message, Some(help.to_owned())),
            None => (error.message.as_str(), None),
        };
        let message = format!("`{}`: {message}", error.field_path);
        problems.error(place, message, help);
    }
}

/// Where a path such as `spec.options[0].name` leads to, or how far it leads.
fn place(root: &Node, path: &str) -> Place {
    let mut node = root;
    for part in path.split(['.', '[']) {
        let next = match &node.value {
            Value::Map(entries) => entries
                .iter()
                .find(|(key, _)| matches!(&key.value, Value::Text(key) if key == part))
                .map(|(_, value)| value),
            Value::List(list) => part
                .strip_suffix(']')
                .and_then(|index| list.get(index.parse::<usize>().ok()?)),
            _ => None,
        };
        let Some(next) = next else {
            break;
        };
        node = next;
    }
    node.place
}
