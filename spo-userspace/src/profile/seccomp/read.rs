//! Reading profiles of both formats.

use super::spec::{Format, RAW_FIELDS, spec};
use super::{Document, KIND, SeccompProfile};
use crate::profile::diagnostic::Diagnostic;
use crate::profile::fields::{Fields, Problems};
use crate::profile::object::{self, Object};
use crate::profile::tree::{self, Node, Place, Value};

/// Reads a profile of either format, as YAML or JSON, and tells everything that is wrong with
/// it. There is a document if nothing of that is an error.
///
/// `file` is the name to use in messages.
pub fn read(file: &str, source: &[u8]) -> (Option<Document>, Vec<Diagnostic>) {
    let (root, error) = tree::parse(file, source);
    let mut problems = Problems::new(file);
    if let Some(error) = error {
        problems.add(error);
    }
    let document = root.and_then(|root| document(&root, source, &mut problems));
    let document = document.filter(|_| !problems.any_error());
    (document, problems.finish())
}

fn document(root: &Node, source: &[u8], problems: &mut Problems<'_>) -> Option<Document> {
    if matches!(root.value, Value::Null) {
        problems.error(root.place, "the file is empty".to_owned(), None);
        return None;
    }
    let fields = problems.fields(root, "a profile", None)?;
    if ["apiVersion", "kind", "metadata", "spec"]
        .iter()
        .any(|name| fields.get(name).is_some())
    {
        return read_object(&fields, problems).map(Document::Object);
    }
    if let Some((key, place)) = engine_key(&fields) {
        let message = format!(
            "this is a container engine's profile: `{key}` is not in what an OCI runtime reads"
        );
        let help = "such profiles depend on the machine and on the container's capabilities, and \
                    are not supported yet; use the OCI runtime's form of it";
        problems.error(place, message, Some(help.to_owned()));
        return None;
    }
    if fields.unknown(RAW_FIELDS).count() == fields.unknown(&[]).count() {
        let help = format!(
            "expected is an object of the kind {}, or the JSON of an OCI runtime with `defaultAction`",
            KIND.name
        );
        problems.error(
            fields.place,
            "this is no seccomp profile".to_owned(),
            Some(help),
        );
        return None;
    }
    let spec = spec(&fields, Format::Raw, problems)?;
    if !problems.any_error() {
        check_json(source, problems);
    }
    Some(Document::Raw(spec))
}

/// A field that only the profiles of container engines have.
fn engine_key<'a>(fields: &Fields<'a>) -> Option<(&'a str, Place)> {
    const ENGINE_FIELDS: [&str; 2] = ["archMap", "defaultErrno"];
    const ENGINE_RULE_FIELDS: [&str; 4] = ["includes", "excludes", "name", "errno"];
    let is_empty = |node: &Node| match &node.value {
        Value::Null => true,
        Value::Map(map) => map.is_empty(),
        Value::Text(text) => text.is_empty(),
        _ => false,
    };
    if let Some(found) = fields
        .unknown(&[])
        .find(|(name, _)| ENGINE_FIELDS.contains(name))
    {
        return Some(found);
    }
    let Value::List(rules) = &fields.get("syscalls")?.value else {
        return None;
    };
    rules.iter().find_map(|rule| {
        let Value::Map(entries) = &rule.value else {
            return None;
        };
        entries.iter().find_map(|(key, value)| match &key.value {
            Value::Text(name)
                if ENGINE_RULE_FIELDS.contains(&name.as_str()) && !is_empty(value) =>
            {
                ENGINE_RULE_FIELDS
                    .into_iter()
                    .find(|field| field == name)
                    .map(|field| (field, key.place))
            }
            _ => None,
        })
    })
}

/// Runtimes read raw profiles with a parser of JSON, and YAML allows more.
fn check_json(source: &[u8], problems: &mut Problems<'_>) {
    if source.trim_ascii_start().first() != Some(&b'{') {
        return;
    }
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(source) {
        let place = tree::place_of_byte_column(source, error.line(), error.column());
        let text = error.to_string();
        let text = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(text, _)| text);
        problems.warn(
            place,
            format!("this is not JSON, and runtimes read only that: {text}"),
            None,
        );
    }
}

fn read_object(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<SeccompProfile> {
    let (metadata, spec_fields) = object::read(fields, &KIND, problems)?;
    let spec = spec_fields.and_then(|fields| spec(&fields, Format::Object, problems));
    Some(Object {
        metadata: metadata?,
        spec: spec?,
    })
}
