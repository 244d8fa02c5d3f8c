//! What all kinds of objects share: the API version, the kind, and the metadata.

use std::collections::BTreeMap;

use serde::Serialize;

use super::diagnostic::quoted;
use super::fields::{Fields, Problems};
use super::selector::{self, Selector};
use super::suggest::nearest;
use super::tree::{Node, Value};

/// The API group of all kinds.
pub const GROUP: &str = "security-profiles-operator.x-k8s.io";
/// The API version of the objects that we write.
pub const API_VERSION: &str = "security-profiles-operator.x-k8s.io/v1";

/// The kinds of our objects.
pub(crate) const KINDS: [&str; 8] = [
    "AppArmorProfile",
    "ProfileBinding",
    "ProfileRecording",
    "RawSelinuxProfile",
    "SeccompProfile",
    "SecurityProfileNodeStatus",
    "SecurityProfilesOperatorDaemon",
    "SelinuxProfile",
];

/// The field of `spec` that all kinds of profiles share, and that [`read`] reads.
pub(crate) const NAMESPACES: &str = "namespaceSelector";

/// A Kubernetes object that holds a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<Spec> {
    /// `metadata`.
    pub metadata: Metadata,
    /// `spec`.
    pub spec: Spec,
}

/// What an object says about itself, as far as a file may say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The object's name.
    pub name: String,
    /// The labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The namespaces whose pods may use the profile; none means all. It stands in `spec`, and says
    /// nothing about what the profile allows.
    #[serde(skip)]
    pub namespaces: Option<Selector>,
}

/// A kind of profile.
#[derive(Debug)]
pub struct Kind {
    /// The kind.
    pub name: &'static str,
    /// What one of them is called in a message, without an article.
    pub one: &'static str,
    /// The versions before `v1`, which are read as that one.
    pub older: &'static [&'static str],
}

/// What an object says it is, before it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `apiVersion`.
    pub api_version: Option<String>,
    /// `kind`.
    pub kind: Option<String>,
}

impl Identity {
    /// What the root of a document says; nothing if it is no object.
    pub(crate) fn of(root: &Node) -> Self {
        let Value::Map(entries) = &root.value else {
            return Self::default();
        };
        let text = |field: &str| {
            entries
                .iter()
                .find_map(|(key, value)| match (&key.value, &value.value) {
                    (Value::Text(key), Value::Text(value)) if key == field => Some(value.clone()),
                    _ => None,
                })
        };
        Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
        }
    }

    /// Whether it is an object of somebody else's. One of our kinds with no group, or with nearly
    /// ours, is not: its author would like to know.
    pub fn is_foreign(&self) -> bool {
        let Some(kind) = self.kind.as_deref() else {
            return false;
        };
        let version = self.api_version.as_deref().unwrap_or_default();
        let ours = match version.split_once('/') {
            Some((GROUP, _)) => true,
            Some((group, _)) => KINDS.contains(&kind) && nearest(group, [GROUP]).is_some(),
            None => KINDS.contains(&kind) || version == GROUP,
        };
        !ours
    }
}

/// Checks an object's kind, version and metadata, and finds the fields of its `spec`. There is
/// nothing if the object is of another kind.
pub(crate) fn read<'n>(
    fields: &Fields<'n>,
    kind: &Kind,
    problems: &mut Problems<'_>,
) -> Option<(Option<Metadata>, Option<Fields<'n>>)> {
    let name = fields.require("kind", problems).and_then(|node| {
        let name = problems.text(node, "`kind`")?;
        if name != kind.name {
            let help = match nearest(name, [kind.name]) {
                Some(kind) => format!("did you mean `{kind}`?"),
                None => format!("expected is `{}`", kind.name),
            };
            let message = format!("the kind {} is no {}", quoted(name), kind.one);
            problems.error(node.place, message, Some(help));
        }
        Some(name)
    });
    if name.is_some_and(|name| nearest(name, [kind.name]).is_none()) {
        return None;
    }
    if let Some(node) = fields.require("apiVersion", problems) {
        api_version(node, kind, problems);
    }
    fields.refuse_unknown(
        &["apiVersion", "kind", "metadata", "spec", "status"],
        problems,
    );
    let mut metadata = check_metadata(fields, problems);
    let spec = fields
        .require("spec", problems)
        .and_then(|node| problems.fields(node, "`spec`", fields.place_of("spec")));
    let namespaces = spec.as_ref().and_then(|spec| spec.get(NAMESPACES));
    let namespaces =
        namespaces.and_then(|node| selector::read(node, "spec.namespaceSelector", problems));
    if let Some(metadata) = &mut metadata {
        metadata.namespaces = namespaces;
    }
    Some((metadata, spec))
}

/// Checks an object's metadata.
pub(crate) fn check_metadata(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<Metadata> {
    let Some(node) = fields.get("metadata") else {
        problems.missing(fields.place, "metadata.name");
        return None;
    };
    let metadata = problems.fields(node, "`metadata`", fields.place_of("metadata"))?;
    self::metadata(&metadata, problems)
}

/// Writes an object as YAML: always the same text for the same object.
pub(crate) fn write<Spec: Serialize>(
    kind: &Kind,
    metadata: &Metadata,
    spec: &Spec,
) -> Result<String, serde_saphyr::ser::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Whole<'a, Spec> {
        api_version: &'static str,
        kind: &'static str,
        metadata: &'a Metadata,
        spec: Scoped<'a, Spec>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Scoped<'a, Spec> {
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace_selector: Option<&'a Selector>,
        #[serde(flatten)]
        spec: &'a Spec,
    }
    let object = Whole {
        api_version: API_VERSION,
        kind: kind.name,
        metadata,
        spec: Scoped {
            namespace_selector: metadata.namespaces.as_ref(),
            spec,
        },
    };
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    serde_saphyr::to_string_with_options(&object, options)
}

fn api_version(node: &Node, kind: &Kind, problems: &mut Problems<'_>) {
    let Some(version) = problems.text(node, "`apiVersion`") else {
        return;
    };
    if version == API_VERSION {
        return;
    }
    let help = Some(format!("expected is `{API_VERSION}`"));
    match version.split_once('/') {
        Some((GROUP, older)) if kind.older.contains(&older) => {
            let message = format!(
                "{} is an old version, read as the current one",
                quoted(version)
            );
            problems.warn(node.place, message, help);
        }
        _ => problems.error(
            node.place,
            format!("unknown API version {}", quoted(version)),
            help,
        ),
    }
}

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
    fields.refuse_unknown(KNOWN, problems);
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
    Some(Metadata {
        name: name.to_owned(),
        labels,
        annotations,
        namespaces: None,
    })
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
pub(crate) fn is_object_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            let ends = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let bytes = label.as_bytes();
            bytes.first().is_some_and(ends)
                && bytes.last().is_some_and(ends)
                && bytes.iter().all(|byte| ends(byte) || *byte == b'-')
        })
}
