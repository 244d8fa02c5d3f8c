//! Which object of a cluster a tree is, and what a cluster said about it.

use super::convert::{field, remove};
use super::crds::Definition;
use crate::profile::object::Identity;
use crate::profile::tree::{Node, Place, Value};

/// The kinds that are profiles.
pub(crate) const PROFILES: [&str; 4] = [
    "AppArmorProfile",
    "RawSelinuxProfile",
    "SeccompProfile",
    "SelinuxProfile",
];

/// What two objects of ours cannot share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identifier {
    /// The kind.
    pub(crate) kind: &'static str,
    /// The namespace of kinds that have one. Empty if the object does not say.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
}

impl Identifier {
    /// The identifier of an object, and the place of its name. There is none if it is not one of
    /// ours, or has no name.
    pub(crate) fn of(root: &Node) -> Option<(Self, Place)> {
        let identity = Identity::of(root);
        if identity.is_foreign() {
            return None;
        }
        let definition = Definition::of(identity.kind.as_deref()?)?;
        let metadata = field(root, "metadata")?;
        let text = |name| match field(metadata, name) {
            Some(Node {
                value: Value::Text(text),
                place,
            }) => Some((text.clone(), *place)),
            _ => None,
        };
        let (name, place) = text("name")?;
        let namespaced = definition.crd["spec"]["scope"] == "Namespaced";
        let namespace = text("namespace").filter(|_| namespaced);
        let namespace = namespace.map(|(text, _)| text);
        let identifier = Self {
            kind: definition.kind,
            namespace: namespace.unwrap_or_default(),
            name,
        };
        Some((identifier, place))
    }
}

/// What an API server, and nobody else, writes into `metadata`.
const SERVED: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Whether an object was printed by an API server. Generators, too, write an empty `status` and no
/// `creationTimestamp`.
pub(crate) fn came_from_server(root: &Node) -> bool {
    let metadata = field(root, "metadata");
    let has = |name| {
        let field = metadata.and_then(|metadata| field(metadata, name));
        field.is_some_and(|node| !matches!(node.value, Value::Null))
    };
    has("managedFields") || has("resourceVersion") || has("uid")
}

/// Takes out what the next API server would write itself: those fields, kubectl's note of what it
/// applied last, and the status. A node's status is nothing else, and keeps its own.
pub(crate) fn forget_server(root: &mut Node) {
    for name in SERVED {
        remove(root, "metadata", name);
    }
    remove(root, "metadata.annotations", LAST_APPLIED);
    let annotations = field(root, "metadata").and_then(|metadata| field(metadata, "annotations"));
    if annotations.is_some_and(|node| matches!(&node.value, Value::Map(map) if map.is_empty())) {
        remove(root, "metadata", "annotations");
    }
    let kind = Identity::of(root).kind;
    if kind.as_deref() != Some("SecurityProfileNodeStatus")
        && let Value::Map(entries) = &mut root.value
    {
        entries.retain(|(key, _)| !matches!(&key.value, Value::Text(name) if name == "status"));
    }
}

/// The annotation in which kubectl keeps the object as it was applied.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
