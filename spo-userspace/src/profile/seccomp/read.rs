//! Reading profiles of both formats.

use std::collections::BTreeMap;

use super::fields::{Fields, Problems};
use super::spec::{Format, RAW_FIELDS, spec, unknown_fields};
use super::{API_VERSION, Document, KIND, SeccompProfile};
use crate::profile::diagnostic::{Diagnostic, quoted};
use crate::profile::suggest::nearest;
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
        return object(&fields, problems).map(Document::Object);
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
            "expected is an object of the kind {KIND}, or the JSON of an OCI runtime with `defaultAction`"
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

fn object(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<SeccompProfile> {
    let kind = fields.require("kind", problems).and_then(|node| {
        let kind = problems.text(node, "`kind`")?;
        if kind != KIND {
            let help = nearest(kind, [KIND]).map(|kind| format!("did you mean `{kind}`?"));
            let help = help.unwrap_or_else(|| format!("expected is `{KIND}`"));
            problems.error(
                node.place,
                format!("the kind {} is no seccomp profile", quoted(kind)),
                Some(help),
            );
        }
        Some(kind)
    });
    if kind.is_some_and(|kind| nearest(kind, [KIND]).is_none()) {
        return None;
    }
    if let Some(node) = fields.require("apiVersion", problems) {
        api_version(node, problems);
    }
    unknown_fields(
        fields,
        &["apiVersion", "kind", "metadata", "spec", "status"],
        Format::Object,
        problems,
    );
    let metadata = if let Some(node) = fields.get("metadata") {
        problems.fields(node, "`metadata`", fields.place_of("metadata"))
    } else {
        problems.missing(fields.place, "metadata.name");
        None
    };
    let metadata = metadata.and_then(|metadata| self::metadata(&metadata, problems));
    let spec = fields
        .require("spec", problems)
        .and_then(|node| problems.fields(node, "`spec`", fields.place_of("spec")))
        .and_then(|fields| spec(&fields, Format::Object, problems));
    let (name, labels, annotations) = metadata?;
    Some(SeccompProfile {
        name,
        labels,
        annotations,
        spec: spec?,
    })
}

fn api_version(node: &Node, problems: &mut Problems<'_>) {
    let Some(version) = problems.text(node, "`apiVersion`") else {
        return;
    };
    if version == API_VERSION {
        return;
    }
    let help = Some(format!("expected is `{API_VERSION}`"));
    match version.split_once('/') {
        Some((group, "v1beta1" | "v1alpha1"))
            if API_VERSION.split_once('/').map(|(ours, _)| ours) == Some(group) =>
        {
            problems.warn(
                node.place,
                format!(
                    "{} is an old version, read as the current one",
                    quoted(version)
                ),
                help,
            );
        }
        _ => problems.error(
            node.place,
            format!("unknown API version {}", quoted(version)),
            help,
        ),
    }
}

type Metadata = (String, BTreeMap<String, String>, BTreeMap<String, String>);

fn metadata(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<Metadata> {
    const KNOWN: &[&str] = &[
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    unknown_fields(fields, KNOWN, Format::Object, problems);
    let labels = text_map(fields, "labels", problems);
    let annotations = text_map(fields, "annotations", problems);
    let Some(node) = fields.get("name") else {
        problems.missing(
            fields.place_of("name").unwrap_or(fields.place),
            "metadata.name",
        );
        return None;
    };
    let name = problems.free_text(node, "`metadata.name`")?;
    if !is_object_name(name) {
        let help = "lower-case letters, digits, `-` and `.`, at most 253, beginning and ending with a letter or digit";
        problems.error(
            node.place,
            format!("{} cannot be an object's name", quoted(name)),
            Some(help.to_owned()),
        );
        return None;
    }
    Some((name.to_owned(), labels, annotations))
}

fn text_map(
    fields: &Fields<'_>,
    name: &str,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    let Some(node) = fields.get(name) else {
        return map;
    };
    let Value::Map(entries) = &node.value else {
        problems.fields(node, &format!("`{name}`"), None);
        return map;
    };
    for (key, value) in entries {
        let key = problems.free_text(key, "a key");
        let value = problems.free_text(value, "a value");
        if let (Some(key), Some(value)) = (key, value) {
            map.insert(key.to_owned(), value.to_owned());
        }
    }
    map
}

/// A DNS subdomain, as Kubernetes wants it. The name becomes a file's name on the nodes.
fn is_object_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            let ends = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let bytes = label.as_bytes();
            bytes.first().is_some_and(ends)
                && bytes.last().is_some_and(ends)
                && bytes.iter().all(|byte| ends(byte) || *byte == b'-')
        })
}
