//! Reading objects from files.

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::check::{Checker, Path};
use super::crds::Definition;
use super::{
    ProfileBinding, ProfileRecording, SecurityProfileNodeStatus, SecurityProfilesOperatorDaemon,
    cel, convert, json,
};
use crate::profile::diagnostic::{Diagnostic, quoted};
use crate::profile::fields::{Fields, Problems};
use crate::profile::object::{self, API_VERSION, GROUP, Identity, KINDS};
use crate::profile::suggest::nearest;
use crate::profile::tree::{self, Node, Parsed, Value};

mod remarks;

pub use self::remarks::{LINTS, SAME_OBJECT};

/// An object of one of the kinds that are no profiles.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A binding.
    ProfileBinding(Box<ProfileBinding>),
    /// A recording.
    ProfileRecording(Box<ProfileRecording>),
    /// A node's status.
    SecurityProfileNodeStatus(Box<SecurityProfileNodeStatus>),
    /// The operator's configuration.
    SecurityProfilesOperatorDaemon(Box<SecurityProfilesOperatorDaemon>),
}

/// Reads an object of a kind that is no profile, as YAML or JSON and in any version, and tells
/// everything that is wrong with it. There is an object if nothing of that is an error.
///
/// `file` is the name to use in messages. Profiles have readers of their own, in
/// [`profile`](crate::profile).
pub fn read(file: &str, source: &[u8]) -> (Option<Object>, Vec<Diagnostic>) {
    read_parsed(Parsed::of(file, source))
}

/// The same of a tree.
pub(crate) fn read_parsed(parsed: Parsed<'_>) -> (Option<Object>, Vec<Diagnostic>) {
    const KINDS: [&str; 4] = [
        "ProfileBinding",
        "ProfileRecording",
        "SecurityProfileNodeStatus",
        "SecurityProfilesOperatorDaemon",
    ];
    let (root, mut problems) = Problems::continued(parsed);
    let value = root.and_then(|root| examine(root, &KINDS, &mut problems));
    let value = value.filter(|_| !problems.any_error());
    let object = value.and_then(|(kind, value)| {
        let object = match kind {
            "ProfileBinding" => typed(value).map(Object::ProfileBinding),
            "ProfileRecording" => typed(value).map(Object::ProfileRecording),
            "SecurityProfileNodeStatus" => typed(value).map(Object::SecurityProfileNodeStatus),
            _ => typed(value).map(Object::SecurityProfilesOperatorDaemon),
        };
        // The check found nothing: only fields of Kubernetes' own metadata are left.
        object
            .map_err(|error| {
                let message = format!("the object cannot be read: {error}");
                problems.error(tree::Place::START, message, None);
            })
            .ok()
    });
    (object, problems.finish())
}

/// Checks an object of any kind, as YAML or JSON and in any version, against the kind's schema
/// and rules: what the API server would say to it, with places, and unknown fields besides.
pub fn check(file: &str, source: &[u8]) -> Vec<Diagnostic> {
    let (root, mut problems) = Problems::continued(Parsed::of(file, source));
    if let Some(root) = root {
        examine(root, &KINDS, &mut problems);
    }
    problems.finish()
}

/// Makes a profile of an older version one of `v1`, and tells what that changed. Its reader, which
/// knows `v1` only, takes it from there.
pub(crate) fn upgrade(file: &str, root: &mut Node) -> Vec<Diagnostic> {
    let mut problems = Problems::new(file);
    let identity = Identity::of(root);
    // What is wrong with the kind or the version is the reader's to say.
    if let (Some(kind), Some(version)) = (identity.kind, identity.api_version)
        && let Some(definition) = Definition::of(&kind)
        && let Some(version) = known_older(&version, definition.kind)
    {
        if let Some(fields) = problems.fields(root, "an object", None) {
            older_version(&fields, definition.kind, &mut problems);
        }
        convert_noted(root, definition.kind, version, &mut problems);
    }
    problems.finish()
}

fn convert_noted(root: &mut Node, kind: &str, version: &str, problems: &mut Problems<'_>) {
    let changes = convert::convert(root, kind, version);
    for note in changes.notes {
        problems.warn(note.place, format!("`{}` {}", note.path, note.text), None);
    }
    for error in changes.errors {
        problems.error(
            error.place,
            format!("`{}` {}", error.path, error.text),
            None,
        );
    }
}

/// The version in an `apiVersion`, if it is one of this kind's older ones.
fn known_older(api_version: &str, kind: &str) -> Option<&'static str> {
    let version = api_version.strip_prefix(GROUP)?.strip_prefix('/')?;
    convert::older(kind)
        .iter()
        .copied()
        .find(|older| *older == version)
}

fn typed<T: DeserializeOwned>(value: Json) -> Result<Box<T>, serde_json::Error> {
    serde_json::from_value(value).map(Box::new)
}

/// The object in `v1` with its defaults, if it can be told what it is.
fn examine(
    mut root: Node,
    kinds: &[&'static str],
    problems: &mut Problems<'_>,
) -> Option<(&'static str, Json)> {
    if matches!(root.value, Value::Null) {
        problems.error(root.place, "the file is empty".to_owned(), None);
        return None;
    }
    let fields = problems.fields(&root, "an object", None)?;
    let kind = kind(&fields, kinds, problems)?;
    if let Some(version) = older_version(&fields, kind, problems) {
        convert_noted(&mut root, kind, version, problems);
    }
    let definition = Definition::of(kind)?;
    let schema = definition.schema();
    let fields = problems.fields(&root, "an object", None)?;
    object::check_metadata(&fields, problems);
    let mut checker = Checker::new(kind, problems);
    for name in ["spec", "status"] {
        if let (Some(place), Some(node)) = (fields.place_of(name), fields.get(name)) {
            let schema = &schema["properties"][name];
            checker.check(node, schema, &Path::Field(&Path::Root, name), Some(place));
        }
    }
    if fields.get("spec").is_none() && schema.get("required").is_some() {
        problems.missing(fields.place, "spec");
    }
    fields.refuse_unknown(
        &["apiVersion", "kind", "metadata", "spec", "status"],
        problems,
    );
    let mut value = json::of_tree(&root);
    defaults(schema, &mut value);
    if !problems.any_error() {
        cel::check(definition, &value, &root, problems);
        remarks::remark(kind, &root, problems);
    }
    Some((kind, value))
}

fn kind(
    fields: &Fields<'_>,
    kinds: &[&'static str],
    problems: &mut Problems<'_>,
) -> Option<&'static str> {
    let node = fields.require("kind", problems)?;
    let name = problems.text(node, "`kind`")?;
    let known = kinds.iter().copied().find(|kind| *kind == name);
    if known.is_none() {
        // Also those that have readers of their own.
        let help = match nearest(name, KINDS) {
            Some(kind) => format!("did you mean `{kind}`?"),
            None => format!("known are {}", KINDS.join(", ")),
        };
        let message = format!("the kind {} is not known here", quoted(name));
        problems.error(node.place, message, Some(help));
    }
    known
}

/// The object's version, if it is an older one.
fn older_version(
    fields: &Fields<'_>,
    kind: &'static str,
    problems: &mut Problems<'_>,
) -> Option<&'static str> {
    let node = fields.require("apiVersion", problems)?;
    let version = problems.text(node, "`apiVersion`")?;
    if version == API_VERSION {
        return None;
    }
    let older = known_older(version, kind);
    let help = Some(format!("expected is `{API_VERSION}`"));
    if older.is_some() {
        let message = format!(
            "{} is an old version, read as the current one",
            quoted(version)
        );
        problems.warn(node.place, message, help);
    } else {
        let message = format!("unknown API version {}", quoted(version));
        problems.error(node.place, message, help);
    }
    older
}

/// Takes out fields that are `null` and puts in the defaults of what is missing, as the API server
/// does.
fn defaults(schema: &Json, value: &mut Json) {
    match value {
        Json::Object(map) => {
            map.retain(|_, value| !value.is_null());
            if let Some(inner) = schema.get("additionalProperties") {
                map.values_mut().for_each(|value| defaults(inner, value));
            }
            let properties = schema.get("properties").and_then(Json::as_object);
            for (name, schema) in properties.into_iter().flatten() {
                if !map.contains_key(name)
                    && let Some(default) = schema.get("default")
                {
                    map.insert(name.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(name) {
                    defaults(schema, value);
                }
            }
        }
        Json::Array(list) => {
            if let Some(schema) = schema.get("items") {
                for item in list {
                    defaults(schema, item);
                }
            }
        }
        _ => {}
    }
}

/// A node of the tree by the names of the fields that lead to it.
fn at<'n>(root: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter()
        .try_fold(root, |node, name| convert::field(node, name))
}
