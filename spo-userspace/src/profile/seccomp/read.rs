//! Reading profiles of all formats.

use super::engine_read::{engine, is_engine};
use super::lint::lint;
use super::places::Places;
use super::spec::{Format, RAW_FIELDS, spec};
use super::{Document, KIND, SeccompProfile};
use crate::profile::diagnostic::Diagnostic;
use crate::profile::fields::{Fields, Problems};
use crate::profile::lint::silence;
use crate::profile::object::{self, Object};
use crate::profile::tree::{self, Node, Parsed, Value};

/// Reads a profile of any format, as YAML or JSON, and tells everything that is wrong with it.
/// There is a document if nothing of that is an error.
///
/// `file` is the name to use in messages. What the file itself silences is not told.
pub fn read(file: &str, source: &[u8]) -> (Option<Document>, Vec<Diagnostic>) {
    read_parsed(Parsed::of(file, source), false)
}

/// [`read()`], and what else the author would want to know: see [`super::LINTS`]. What depends on
/// the machine, that is a container engine's profile, is not looked at.
pub fn read_and_lint(file: &str, source: &[u8]) -> (Option<Document>, Vec<Diagnostic>) {
    read_parsed(Parsed::of(file, source), true)
}

/// The same of a tree that may not be the file's any more, but has its places.
pub(crate) fn read_parsed(parsed: Parsed<'_>, lint: bool) -> (Option<Document>, Vec<Diagnostic>) {
    let source = parsed.source;
    let (root, mut problems) = Problems::continued(parsed);
    let document = root
        .as_ref()
        .and_then(|root| document(root, source, &mut problems));
    let document = document.filter(|_| !problems.any_error());
    if let (true, Some(document), Some(root)) = (lint, &document, &root) {
        lint_document(document, root, &mut problems);
    }
    (document, silence(source, problems.finish()))
}

fn lint_document(document: &Document, root: &Node, problems: &mut Problems<'_>) {
    let Some(spec) = document.spec() else {
        return;
    };
    let Some(mut fields) = problems.fields(root, "a profile", None) else {
        return;
    };
    if let Some(node) = fields.get("spec") {
        let Some(inner) = problems.fields(node, "`spec`", fields.place_of("spec")) else {
            return;
        };
        fields = inner;
    }
    lint(spec, &Places::of(&fields), problems);
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
    if is_engine(&fields) {
        let profile = engine(&fields, problems)?;
        if !problems.any_error() {
            check_json(source, problems);
        }
        return Some(Document::Engine(profile));
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
