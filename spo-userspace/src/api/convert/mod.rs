//! Between `v1` and the versions before it.
//!
//! An older version is what the releases up to 0.10.1 wrote: `disabled`, `permissive`,
//! `complainMode`, a flat configuration of the operator. Release 1.0 used the same version names
//! for other fields, nearly those of `v1`; those are read as well, but never written. Nothing is
//! dropped: what cannot be said in the other version is an error.

mod apply;
mod edit;
mod rules;

use serde_json::Value as Json;
use thiserror::Error;

use self::edit::{get, take};
use self::rules::{Rule, SHAPES, Shape};
use super::json;
use crate::profile::object::{API_VERSION, GROUP};
use crate::profile::tree::{Node, Place, Value};

pub(super) use self::edit::{field, remove};

/// An object in `v1`, and what that took.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The object.
    pub object: Json,
    /// What is different now.
    pub notes: Vec<Note>,
}

/// What happened to a field, or cannot happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The field in the object that was given, such as `spec.disabled`.
    pub path: String,
    /// What about it, as the end of a sentence that begins with the field.
    pub text: String,
}

/// Why an object has no other version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConvertError {
    /// It does not say what it is, or is nested deeper than any object of ours.
    #[error("this is no Kubernetes object")]
    NoObject,
    /// It is not of our kinds.
    #[error("the kind {0:?} is not one of ours")]
    Kind(String),
    /// The kind has no such version, or none that can be written.
    #[error("{kind} has no version {version:?} to convert from or to")]
    Version {
        /// The kind.
        kind: String,
        /// The version.
        version: String,
    },
    /// These fields cannot be said in the other version, or contradict each other.
    #[error("{}", .0.iter().map(|note| format!("{} {}", note.path, note.text)).collect::<Vec<_>>().join("; "))]
    Fields(Vec<Note>),
}

/// An object of any version in `v1`. One that is in `v1` already stays as it is.
///
/// Fields that neither version knows stay where they are.
pub fn to_v1(object: Json) -> Result<Converted, ConvertError> {
    let (shape, version) = identify(&object)?;
    if version == "v1" {
        let notes = Vec::new();
        return Ok(Converted { object, notes });
    }
    if !shape.older.contains(&version.as_str()) {
        return Err(ConvertError::Version {
            kind: shape.kind.to_owned(),
            version,
        });
    }
    let mut root = json::to_tree(&object).ok_or(ConvertError::NoObject)?;
    let Changes { notes, errors } = convert(&mut root, shape.kind, &version);
    let notes_of = |changes: Vec<Change>| changes.into_iter().map(Note::from).collect();
    if !errors.is_empty() {
        return Err(ConvertError::Fields(notes_of(errors)));
    }
    Ok(Converted {
        object: json::of_tree(&root),
        notes: notes_of(notes),
    })
}

/// An object of `v1` in an older version: `v1beta1` of `SeccompProfile`, `v1alpha2` of
/// `SelinuxProfile` and `RawSelinuxProfile`, `v1alpha1` of the others.
pub fn from_v1(object: &Json, version: &str) -> Result<Json, ConvertError> {
    let (shape, current) = identify(object)?;
    if current != "v1" || shape.older.first() != Some(&version) {
        return Err(ConvertError::Version {
            kind: shape.kind.to_owned(),
            version: version.to_owned(),
        });
    }
    let mut root = json::to_tree(object).ok_or(ConvertError::NoObject)?;
    let mut changes = Changes::default();
    for (path, default) in shape.newer {
        let Some(node) = get(&root, path) else {
            continue;
        };
        if default.is_some_and(|default| default.is(&node.value)) {
            take(&mut root, path);
        } else {
            let text = format!("has no place in {version}");
            changes.error(node.place, path, text);
        }
    }
    for rule in shape.rules.iter().rev() {
        rule.undo(&mut root, &mut changes);
    }
    if !changes.errors.is_empty() {
        let errors = changes.errors.into_iter().map(Note::from).collect();
        return Err(ConvertError::Fields(errors));
    }
    set_version(&mut root, version);
    Ok(json::of_tree(&root))
}

/// The versions of a kind before `v1`, the newest first.
pub(super) fn older(kind: &str) -> &'static [&'static str] {
    shape(kind).map_or(&[], |shape| shape.older)
}

/// What a field of older versions is in `v1`, for a message.
pub(super) fn successor(kind: &str, path: &str) -> Option<String> {
    let rules = shape(kind).map(|shape| shape.rules)?;
    rules.iter().find_map(|rule| match rule {
        Rule::Move { old, new } if *old == path => Some(format!("`{new}`")),
        Rule::Switch { old, new, on, .. } if *old == path => Some(format!("`{new}: {on}`")),
        _ => None,
    })
}

/// Makes the tree of an object of an older version one of `v1`. If there are errors, it is
/// neither.
pub(super) fn convert(root: &mut Node, kind: &str, version: &str) -> Changes {
    let mut changes = Changes::default();
    let Some(shape) = shape(kind) else {
        return changes;
    };
    if shape.cluster
        && let Some((place, namespace)) = take(root, "metadata.namespace")
        && !matches!(namespace.value, Value::Null)
    {
        let text = "is dropped: profiles belong to the whole cluster now, and need names that are \
                    unique in it";
        changes.note(place, "metadata.namespace", text.to_owned());
    }
    for rule in shape.rules {
        rule.apply(root, &mut changes);
    }
    if kind == "SeccompProfile" {
        edit::error_numbers(root, &mut changes);
    }
    if kind == "AppArmorProfile"
        && let Some(policy) = get(root, "spec.policy")
    {
        let text = format!(
            "is the text of a profile, as {version} had it: convert the text, and put the result into `spec.abstract`"
        );
        changes.error(policy.place, "spec.policy", text);
        // Nobody needs to be told that the field is not known, too.
        edit::remove(root, "spec", "policy");
    }
    set_version(root, "v1");
    changes
}

/// What a conversion did, and what it could not do.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) notes: Vec<Change>,
    pub(super) errors: Vec<Change>,
}

/// A [`Note`] with its place.
pub(super) struct Change {
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) text: String,
}

impl Changes {
    fn note(&mut self, place: Place, path: &str, text: String) {
        let path = path.to_owned();
        self.notes.push(Change { place, path, text });
    }

    fn error(&mut self, place: Place, path: &str, text: String) {
        let path = path.to_owned();
        self.errors.push(Change { place, path, text });
    }
}

impl From<Change> for Note {
    fn from(change: Change) -> Self {
        let Change {
            place: _,
            path,
            text,
        } = change;
        Self { path, text }
    }
}

fn shape(kind: &str) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.kind == kind)
}

fn identify(object: &Json) -> Result<(&'static Shape, String), ConvertError> {
    let text = |name: &str| object.get(name).and_then(Json::as_str);
    let kind = text("kind").ok_or(ConvertError::NoObject)?;
    let version = text("apiVersion").ok_or(ConvertError::NoObject)?;
    let group = version.strip_prefix(GROUP);
    let (Some(shape), Some(version)) = (shape(kind), group.and_then(|rest| rest.strip_prefix('/')))
    else {
        return Err(ConvertError::Kind(kind.to_owned()));
    };
    Ok((shape, version.to_owned()))
}

fn set_version(root: &mut Node, version: &str) {
    if let Some(Node {
        value: Value::Text(text),
        ..
    }) = edit::get_mut(root, "apiVersion")
    {
        *text = match version {
            "v1" => API_VERSION.to_owned(),
            _ => format!("{GROUP}/{version}"),
        };
    }
}
