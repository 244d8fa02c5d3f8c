//! Label selectors. The API server takes any in our objects; one that is wrong matches nothing,
//! or is refused much later by somebody else.

use super::check::Path;
use crate::profile::diagnostic::quoted;
use crate::profile::fields::{Fields, Problems};
use crate::profile::suggest::nearest;
use crate::profile::tree::{Node, Value};

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// Checks a selector that has the right types.
pub(super) fn check(selector: &Fields<'_>, path: &Path<'_>, problems: &mut Problems<'_>) {
    if let Some(Value::Map(labels)) = selector.get("matchLabels").map(|labels| &labels.value) {
        for (key, value) in labels {
            label_key(key, problems);
            label_value(value, problems);
        }
    }
    let expressions = selector.get("matchExpressions").map(|node| &node.value);
    if let Some(Value::List(expressions)) = expressions {
        let path = Path::Field(path, "matchExpressions");
        for (index, node) in expressions.iter().enumerate() {
            if matches!(node.value, Value::Map(_)) {
                expression(node, &Path::Item(&path, index), problems);
            }
        }
    }
}

fn expression(node: &Node, path: &Path<'_>, problems: &mut Problems<'_>) {
    // What is wrong with the map itself is told already.
    let mut told = Problems::new("");
    let Some(fields) = told.fields(node, "", None) else {
        return;
    };
    if let Some(key) = fields.get("key") {
        label_key(key, problems);
    }
    let values = match fields.get("values").map(|node| &node.value) {
        Some(Value::List(values)) => values.as_slice(),
        _ => &[],
    };
    for value in values {
        label_value(value, problems);
    }
    let Some(node) = fields.get("operator") else {
        return;
    };
    let Value::Text(operator) = &node.value else {
        return;
    };
    let (message, help) = match (operator.as_str(), values.is_empty()) {
        ("In" | "NotIn", true) => (
            format!("`{operator}` compares with values, and `{path}` has none"),
            "give it `values`, or use `Exists` or `DoesNotExist`".to_owned(),
        ),
        ("Exists" | "DoesNotExist", false) => (
            format!("`{operator}` compares with no values, and `{path}` has some"),
            "remove `values`, or use `In` or `NotIn`".to_owned(),
        ),
        ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => return,
        _ => (
            format!("{} is no operator of `{path}`", quoted(operator)),
            match nearest(operator, OPERATORS) {
                Some(operator) => format!("did you mean `{operator}`?"),
                None => format!("known are {}", OPERATORS.join(", ")),
            },
        ),
    };
    problems.error(node.place, message, Some(help));
}

fn label_key(node: &Node, problems: &mut Problems<'_>) {
    let Value::Text(key) = &node.value else {
        return;
    };
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key.as_str()),
    };
    let prefix_fits = prefix.is_none_or(crate::profile::object::is_object_name);
    if name.is_empty() || !is_label_value(name) || !prefix_fits {
        let message = format!("no label can have the key {}", quoted(key));
        let help =
            "letters, digits, `-`, `_` and `.`, at most 63, and before it perhaps a domain and `/`";
        problems.error(node.place, message, Some(help.to_owned()));
    }
}

fn label_value(node: &Node, problems: &mut Problems<'_>) {
    let Value::Text(value) = &node.value else {
        return;
    };
    if !is_label_value(value) {
        let message = format!("no label can have the value {}", quoted(value));
        let help = "letters, digits, `-`, `_` and `.`, at most 63, beginning and ending with a letter or digit";
        problems.error(node.place, message, Some(help.to_owned()));
    }
}

fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}
