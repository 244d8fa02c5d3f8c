//! The table of valid and invalid objects, which is tried on API servers as well.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use spo::api::crds::{Definition, definitions};
use spo::api::{Object, check, read};
use spo::profile::diagnostic::{Diagnostic, has_errors};

use super::repository;

struct File {
    name: String,
    source: Vec<u8>,
    /// The path that the answer names.
    rejected: Option<String>,
}

fn files(folder: &str) -> Vec<File> {
    let folder = repository("tests/data/crds").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let source = fs::read(&path).unwrap();
            let text = str::from_utf8(&source).unwrap();
            let rejected = text
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("# rejected: "))
                .map(str::to_owned);
            File {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                source,
                rejected,
            }
        })
        .collect();
    files.sort_by(|left, right| left.name.cmp(&right.name));
    files
}

fn say(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<_> = diagnostics.iter().map(Diagnostic::to_string).collect();
    lines.join("\n")
}

#[test]
fn valid_objects_are_taken() {
    let files = files("valid");
    assert!(files.len() >= 60, "{}", files.len());
    for File {
        name,
        source,
        rejected,
    } in files
    {
        assert_eq!(rejected, None, "{name}");
        let diagnostics = check(&name, &source);
        assert_eq!(say(&diagnostics), "", "{name}");
    }
}

#[test]
fn invalid_objects_are_rejected_where_they_are_wrong() {
    let mut seen = 0;
    for folder in ["invalid", "invalid-status", "rules"] {
        for File {
            name,
            source,
            rejected,
        } in files(folder)
        {
            seen += 1;
            let rejected = rejected.unwrap();
            let diagnostics = check(&name, &source);
            assert!(has_errors(&diagnostics), "{folder}/{name}");
            let named = diagnostics
                .iter()
                .any(|told| told.message.contains(&format!("`{rejected}")));
            assert!(named, "{folder}/{name}: {}", say(&diagnostics));
            // The position is in the object, and not in the comment.
            assert!(diagnostics.iter().all(|told| told.line > 1), "{name}");
        }
    }
    assert!(seen >= 120, "{seen}");
}

/// What the rules in CEL reject has nothing else against it, so that it is they that are tested.
#[test]
fn rules_are_what_rejects() {
    let rules = rules_of_all_kinds();
    let mut met = BTreeSet::new();
    for File { name, source, .. } in files("rules") {
        let value: Value = serde_saphyr::from_slice(&source).unwrap();
        let kind = value["kind"].as_str().unwrap();
        let schema = Definition::of(kind).unwrap().schema();
        let errors = kube::core::cel::Validator::new().validate(schema, &value, None);
        for error in errors.unwrap_err().as_slice() {
            assert_eq!(
                error.kind,
                kube::core::cel::ErrorKind::ValidationFailure,
                "{name}: {error}"
            );
            met.insert(error.message.clone());
        }
    }
    assert_eq!(met, rules, "a rule without an object that it rejects");
}

/// The messages of all rules.
fn rules_of_all_kinds() -> BTreeSet<String> {
    fn walk(value: &Value, messages: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for rule in map
                    .get("x-kubernetes-validations")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    messages.insert(rule["message"].as_str().unwrap().to_owned());
                }
                map.values().for_each(|value| walk(value, messages));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, messages)),
            _ => {}
        }
    }
    let mut messages = BTreeSet::new();
    for definition in definitions() {
        walk(&definition.crd, &mut messages);
    }
    messages
}

/// The four kinds that are no profiles become objects, and nothing of them is lost: what is
/// written again is the same, with the defaults.
#[test]
fn valid_objects_are_read() {
    let mut seen = 0;
    for File { name, source, .. } in files("valid") {
        let (object, diagnostics) = read(&name, &source);
        let Some(object) = object else {
            assert!(name.contains("Profile-"), "{name}: {}", say(&diagnostics));
            continue;
        };
        seen += 1;
        let written = match object {
            Object::ProfileBinding(object) => serde_json::to_value(&object),
            Object::ProfileRecording(object) => serde_json::to_value(&object),
            Object::SecurityProfileNodeStatus(object) => serde_json::to_value(&object),
            Object::SecurityProfilesOperatorDaemon(object) => serde_json::to_value(&object),
        };
        let written = written.unwrap();
        let value: Value = serde_saphyr::from_slice(&source).unwrap();
        let lost = lost(&value, &written, "");
        assert_eq!(lost, Vec::<String>::new(), "{name}");
    }
    assert!(seen >= 30, "{seen}");
}

/// The paths of what the first value says and the second does not. Empty lists and maps say
/// nothing, and an amount may be text.
fn lost(value: &Value, written: &Value, path: &str) -> Vec<String> {
    match (value, written) {
        (Value::Object(map), _) => map
            .iter()
            .flat_map(|(name, value)| {
                let written = written.get(name).unwrap_or(&Value::Null);
                lost(value, written, &format!("{path}.{name}"))
            })
            .collect(),
        (Value::Array(list), _) => list
            .iter()
            .enumerate()
            .flat_map(|(index, value)| {
                let written = written.get(index).unwrap_or(&Value::Null);
                lost(value, written, &format!("{path}[{index}]"))
            })
            .collect(),
        (Value::Number(number), Value::String(text)) if number.to_string() == *text => Vec::new(),
        _ if value == written => Vec::new(),
        _ => vec![format!("{path}: {value} became {written}")],
    }
}
