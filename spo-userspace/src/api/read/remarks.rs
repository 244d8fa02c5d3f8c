//! What the API server takes although it will not do what was meant.

use super::at;
use crate::api::webhooks;
use crate::profile::diagnostic::quoted;
use crate::profile::fields::Problems;
use crate::profile::lint::Rule;
use crate::profile::suggest::nearest;
use crate::profile::tree::{Node, Value};

/// Two objects are the same one. It needs all files, and so is not found here.
pub const SAME_OBJECT: &str = "same-object";

/// What a file of these kinds may be warned of.
pub const LINTS: &[Rule] = &[
    Rule {
        id: SAME_OBJECT,
        reason: "of two objects with the same name the cluster keeps the one that is applied last",
    },
    Rule {
        id: "binding-namespace",
        reason: "only bindings in the operator's own namespace select namespaces; others are refused",
    },
    Rule {
        id: "enricher-filters",
        reason: "the enricher ignores filters that it cannot read",
    },
    Rule {
        id: "recording-name",
        reason: "the name becomes part of labels and of the names of profiles, which take less",
    },
    Rule {
        id: "webhook-name",
        reason: "options for a webhook that does not exist change nothing",
    },
];

pub(super) fn remark(kind: &str, root: &Node, problems: &mut Problems<'_>) {
    match kind {
        "ProfileBinding" => binding_namespace(root, problems),
        "ProfileRecording" => recording_name(root, problems),
        "SecurityProfilesOperatorDaemon" => {
            filters(root, "logEnricherFilters", problems);
            filters(root, "jsonEnricherFilters", problems);
            webhook_names(root, problems);
        }
        _ => {}
    }
}

/// The operator's namespace may be another than the usual one, which no file says.
fn binding_namespace(root: &Node, problems: &mut Problems<'_>) {
    const USUAL: &str = "security-profiles-operator";
    let Some(selector) = at(root, &["spec", "namespaceSelector"]) else {
        return;
    };
    if matches!(selector.value, Value::Null) {
        return;
    }
    if let Some((_, namespace)) = text(root, &["metadata", "namespace"])
        && namespace != USUAL
    {
        let message = format!(
            "{} is not where the operator usually is, and only bindings there may have a `namespaceSelector`",
            quoted(namespace)
        );
        let help = "remove it to bind the pods of this namespace, or put the binding into the operator's namespace";
        problems.lint(
            "binding-namespace",
            selector.place,
            message,
            Some(help.to_owned()),
        );
    }
}

/// The name becomes the value of a label and the beginning of the profiles' names, and the
/// reference drops the recording if it has dots.
fn recording_name(root: &Node, problems: &mut Problems<'_>) {
    let Some((node, name)) = text(root, &["metadata", "name"]) else {
        return;
    };
    if name.contains('.') || name.len() > 63 {
        let message = format!("{} does not do as the name of a recording", quoted(name));
        let help = "use at most 63 characters and no dots: the name becomes part of others";
        problems.lint("recording-name", node.place, message, Some(help.to_owned()));
    }
}

fn filters(root: &Node, name: &str, problems: &mut Problems<'_>) {
    let Some((node, filters)) = text(root, &["spec", "enricher", name]) else {
        return;
    };
    if filters.is_empty() {
        return;
    }
    let parsed = serde_json::from_str::<serde_json::Value>(filters);
    let message = match parsed {
        Ok(serde_json::Value::Array(_)) => return,
        Ok(_) => format!("`{name}` is no list"),
        Err(error) => format!("`{name}` is no JSON: {error}"),
    };
    let help = "expected is a list such as [{\"priority\": 1, \"level\": \"None\", \"matchKeys\": [\"pid\"]}]";
    problems.lint(
        "enricher-filters",
        node.place,
        message,
        Some(help.to_owned()),
    );
}

fn webhook_names(root: &Node, problems: &mut Problems<'_>) {
    let Some(Value::List(options)) =
        at(root, &["spec", "webhook", "options"]).map(|node| &node.value)
    else {
        return;
    };
    for options in options {
        let Some((node, name)) = text(options, &["name"]) else {
            continue;
        };
        if !webhooks::names().any(|known| known == name) {
            let message = format!("the operator has no webhook {}", quoted(name));
            let help = match nearest(name, webhooks::names()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!(
                    "known are {}",
                    webhooks::names().collect::<Vec<_>>().join(", ")
                ),
            };
            problems.lint("webhook-name", node.place, message, Some(help));
        }
    }
}

fn text<'n>(root: &'n Node, path: &[&str]) -> Option<(&'n Node, &'n str)> {
    let node = at(root, path)?;
    match &node.value {
        Value::Text(text) => Some((node, text)),
        _ => None,
    }
}
