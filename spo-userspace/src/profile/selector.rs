//! Label selectors. The API server takes any in our objects; one that is wrong matches nothing,
//! or is refused much later by somebody else.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Serialize;

use super::diagnostic::quoted;
use super::fields::{Fields, Problems};
use super::suggest::nearest;
use super::tree::{Node, Value};

/// What labels must be like, as Kubernetes writes it. All of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels with exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// A condition on a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// What the first two compare with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// Reads a selector, and notes what is wrong with it. There is none if it selects everything.
pub(crate) fn read(node: &Node, path: &str, problems: &mut Problems<'_>) -> Option<Selector> {
    let fields = problems.fields(node, &format!("`{path}`"), None)?;
    fields.refuse_unknown(&["matchLabels", "matchExpressions"], problems);
    let mut selector = Selector::default();
    if let Some(node) = fields.get("matchLabels") {
        let labels = problems.fields(node, "`matchLabels`", None);
        for (key, _, value) in labels.iter().flat_map(Fields::present) {
            if let Some(value) = problems.free_text(value, "a label's value") {
                selector
                    .match_labels
                    .insert(key.to_owned(), value.to_owned());
            }
        }
    }
    let expressions = fields
        .get("matchExpressions")
        .and_then(|node| problems.list(node, "`matchExpressions`"));
    for node in expressions.unwrap_or_default() {
        selector
            .match_expressions
            .extend(requirement(node, problems));
    }
    check(&fields, &path, problems);
    (selector != Selector::default()).then_some(selector)
}

fn requirement(node: &Node, problems: &mut Problems<'_>) -> Option<Requirement> {
    let fields = problems.fields(node, "a condition on a label", None)?;
    fields.refuse_unknown(&["key", "operator", "values"], problems);
    let mut text = |name: &str| {
        let node = fields.require(name, problems)?;
        problems.free_text(node, &format!("`{name}`"))
    };
    let (key, operator) = (text("key"), text("operator"));
    let values = fields
        .get("values")
        .and_then(|node| problems.list(node, "`values`"));
    let values = values
        .unwrap_or_default()
        .iter()
        .filter_map(|node| problems.free_text(node, "a value"))
        .map(str::to_owned)
        .collect();
    Some(Requirement {
        key: key?.to_owned(),
        operator: operator?.to_owned(),
        values,
    })
}

/// Checks a selector that has the right types.
pub(crate) fn check(selector: &Fields<'_>, path: &dyn Display, problems: &mut Problems<'_>) {
    if let Some(Value::Map(labels)) = selector.get("matchLabels").map(|labels| &labels.value) {
        for (key, value) in labels {
            label_key(key, problems);
            label_value(value, problems);
        }
    }
    let expressions = selector.get("matchExpressions").map(|node| &node.value);
    if let Some(Value::List(expressions)) = expressions {
        for (index, node) in expressions.iter().enumerate() {
            if matches!(node.value, Value::Map(_)) {
                let path = format_args!("{path}.matchExpressions[{index}]");
                expression(node, &path, problems);
            }
        }
    }
}

fn expression(node: &Node, path: &dyn Display, problems: &mut Problems<'_>) {
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
    let prefix_fits = prefix.is_none_or(super::object::is_object_name);
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
