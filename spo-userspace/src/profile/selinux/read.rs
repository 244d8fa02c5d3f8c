//! Reading SELinux profiles.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Allow, Inherit, InheritKind, KIND, Mode, SELF, SelinuxProfile, SelinuxSpec, classes, lint,
    names,
};
use crate::profile::diagnostic::{Diagnostic, quoted};
use crate::profile::fields::{Fields, Problems};
use crate::profile::lint::silence;
use crate::profile::object::{self, Kind, Metadata, Object};
use crate::profile::state::State;
use crate::profile::suggest::nearest;
use crate::profile::tree::{Node, Parsed, Value};

/// Reads a profile, as YAML or JSON, and tells everything that is wrong with it. There is a
/// profile if nothing of that is an error.
///
/// `file` is the name to use in messages.
pub fn read(file: &str, source: &[u8]) -> (Option<SelinuxProfile>, Vec<Diagnostic>) {
    read_parsed(Parsed::of(file, source), false)
}

/// Like [`read()`], and looks for what [`super::LINTS`] lists.
pub fn read_and_lint(file: &str, source: &[u8]) -> (Option<SelinuxProfile>, Vec<Diagnostic>) {
    read_parsed(Parsed::of(file, source), true)
}

/// The same of a tree that may not be the file's any more, but has its places.
pub(crate) fn read_parsed(
    parsed: Parsed<'_>,
    lints: bool,
) -> (Option<SelinuxProfile>, Vec<Diagnostic>) {
    read_object(parsed, &KIND, |metadata, fields, problems| {
        spec(metadata, fields, lints, problems)
    })
}

/// Reads an object of a kind. `spec` reads its own fields, also where the metadata is wrong.
pub(super) fn read_object<Spec>(
    parsed: Parsed<'_>,
    kind: &Kind,
    spec: impl FnOnce(Option<&Metadata>, &Fields<'_>, &mut Problems<'_>) -> Option<Spec>,
) -> (Option<Object<Spec>>, Vec<Diagnostic>) {
    let source = parsed.source;
    let (root, mut problems) = Problems::continued(parsed);
    let object = root.and_then(|root| {
        if matches!(root.value, Value::Null) {
            problems.error(root.place, "the file is empty".to_owned(), None);
            return None;
        }
        let fields = problems.fields(&root, "a profile", None)?;
        let (metadata, spec_fields) = object::read(&fields, kind, &mut problems)?;
        if let Some(metadata) = &metadata {
            check_name(&metadata.name, &fields, &mut problems);
        }
        let spec = spec_fields.and_then(|fields| spec(metadata.as_ref(), &fields, &mut problems));
        Some(Object {
            metadata: metadata?,
            spec: spec?,
        })
    });
    let object = object.filter(|_| !problems.any_error());
    (object, silence(source, problems.finish()))
}

/// The fields that profiles had up to version 0.10.1 of the reference.
pub(super) fn unknown_field_help(name: &str, known: &[&'static str]) -> Option<String> {
    match name {
        "disabled" => Some("use `state: Disabled`".to_owned()),
        "permissive" => Some("use `mode: Permissive`".to_owned()),
        _ => nearest(name, known.iter().copied()).map(|name| format!("did you mean `{name}`?")),
    }
}

fn check_name(name: &str, fields: &Fields<'_>, problems: &mut Problems<'_>) {
    if names::is_block(name) {
        return;
    }
    let mut place = fields.place;
    if let Some(Node {
        value: Value::Map(entries),
        ..
    }) = fields.get("metadata")
    {
        for (key, value) in entries {
            if matches!(&key.value, Value::Text(key) if key == "name") {
                place = value.place;
            }
        }
    }
    let message = format!("{} cannot be the name of an SELinux policy", quoted(name));
    problems.error(place, message, Some(names::BLOCK_HELP.to_owned()));
}

fn spec(
    metadata: Option<&Metadata>,
    fields: &Fields<'_>,
    lints: bool,
    problems: &mut Problems<'_>,
) -> Option<SelinuxSpec> {
    const KNOWN: &[&str] = &[object::NAMESPACES, "state", "mode", "inherit", "allow"];
    for (name, place) in fields.unknown(KNOWN) {
        let message = format!("unknown field {}", quoted(name));
        problems.error(place, message, unknown_field_help(name, KNOWN));
    }
    let state = fields
        .get("state")
        .map_or(Some(State::Enabled), |node| problems.named(node, "`state`"));
    let mode = fields
        .get("mode")
        .map_or(Some(Mode::Enforcing), |node| problems.named(node, "`mode`"));
    if let (true, Some(Mode::Permissive), Some(node)) = (lints, mode, fields.get("mode")) {
        lint::permissive(node.place, problems);
    }
    let inherit = match fields.get("inherit") {
        Some(node) => inherits(node, problems),
        None => SelinuxSpec::default().inherit,
    };
    let mut allow = Allow::new();
    if let Some(node) = fields.get("allow")
        && let Some(entries) = entries(node, "`allow`", problems)
    {
        let name = metadata.map(|metadata| metadata.name.as_str());
        for (key, value) in entries {
            if let Some((target, classes)) = target(key, value, name, lints, problems) {
                allow.insert(target, classes);
            }
        }
    }
    Some(SelinuxSpec {
        state: state?,
        mode: mode?,
        inherit,
        allow,
    })
}

fn inherits(node: &Node, problems: &mut Problems<'_>) -> Vec<Inherit> {
    let mut inherits = Vec::new();
    let mut seen = BTreeSet::new();
    for node in problems.list(node, "`inherit`").unwrap_or_default() {
        let Some(fields) = problems.fields(node, "what to inherit", None) else {
            continue;
        };
        fields.refuse_unknown(&["kind", "name"], problems);
        let kind = fields
            .get("kind")
            .map_or(Some(InheritKind::System), |node| {
                problems.named(node, "`kind`")
            });
        let Some(node) = fields.require("name", problems) else {
            continue;
        };
        let Some(name) = problems.free_text(node, "`name`") else {
            continue;
        };
        if name.is_empty() {
            problems.error(node.place, "`name` is empty".to_owned(), None);
        } else if !names::is_label(name) {
            let message = format!("{} cannot be the name of a policy", quoted(name));
            problems.error(node.place, message, Some(names::LABEL_HELP.to_owned()));
        } else if let Some(kind) = kind {
            let inherit = Inherit {
                kind,
                name: name.to_owned(),
            };
            if !seen.insert(inherit.clone()) {
                let message = format!("{} is inherited twice", quoted(name));
                problems.lint("duplicate-inherit", node.place, message, None);
            }
            inherits.push(inherit);
        }
    }
    inherits
}

fn entries<'n>(
    node: &'n Node,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<&'n [(Node, Node)]> {
    if let Value::Map(entries) = &node.value {
        return Some(entries);
    }
    problems.fields(node, what, None);
    None
}

fn target(
    key: &Node,
    value: &Node,
    profile: Option<&str>,
    lints: bool,
    problems: &mut Problems<'_>,
) -> Option<(String, BTreeMap<String, Vec<String>>)> {
    let name = problems.free_text(key, "a type's name")?;
    let valid = name == SELF || names::is_label(name);
    if !valid {
        let message = format!("{} cannot be a type's name", quoted(name));
        let help = match (nearest(name, [SELF]), name.split(':').nth(2)) {
            (Some(own), _) => format!("did you mean `{own}`?"),
            (None, Some(part)) => format!(
                "this looks like a whole context, of which the type is {}",
                quoted(part)
            ),
            (None, None) => format!("{}, or `{SELF}`", names::LABEL_HELP),
        };
        problems.error(key.place, message, Some(help));
    } else if lints {
        lint::target(name, key.place, profile, problems);
    }
    let mut classes = BTreeMap::new();
    for (key, value) in entries(value, "a type's classes", problems)? {
        let Some(class) = label(key, "a class's name", problems) else {
            continue;
        };
        if classes::permissions(class).is_none() {
            lint::unknown_class(class, key.place, problems);
        }
        let permissions = permissions(class, value, lints, problems);
        if permissions.is_empty() && matches!(&value.value, Value::List(list) if list.is_empty()) {
            lint::empty(class, value.place, problems);
        }
        classes.insert(class.to_owned(), permissions);
    }
    valid.then(|| (name.to_owned(), classes))
}

fn permissions(class: &str, node: &Node, lints: bool, problems: &mut Problems<'_>) -> Vec<String> {
    let mut permissions = Vec::new();
    let mut seen = BTreeSet::new();
    for node in problems.list(node, "the permissions").unwrap_or_default() {
        let Some(name) = label(node, "a permission's name", problems) else {
            continue;
        };
        if !seen.insert(name) {
            if lints {
                lint::duplicate(name, node.place, problems);
            }
        } else if !names::is_operator(name) {
            lint::unknown_permission(class, name, node.place, problems);
        }
        if lints {
            lint::permission(class, name, node.place, problems);
        }
        permissions.push(name.to_owned());
    }
    permissions
}

/// A name that has only the characters of one.
fn label<'n>(node: &'n Node, what: &str, problems: &mut Problems<'_>) -> Option<&'n str> {
    let name = problems.free_text(node, what)?;
    if names::is_label(name) {
        return Some(name);
    }
    let message = format!("{} cannot be {what}", quoted(name));
    let help = if name.trim().contains(' ') {
        "each name is an entry of its own"
    } else {
        names::LABEL_HELP
    };
    problems.error(node.place, message, Some(help.to_owned()));
    None
}
