//! What can be used, but is likely not what was meant or wanted.

use super::{SELF, classes, risk, usage};
use crate::profile::diagnostic::quoted;
use crate::profile::fields::Problems;
use crate::profile::lint::Rule;
use crate::profile::tree::Place;

/// The names of all findings that a file can silence, with their reasons.
pub const LINTS: &[Rule] = &[
    Rule {
        id: "broad-attribute",
        reason: "an attribute stands for many types, also those that are still to come",
    },
    Rule {
        id: "dangerous-permission",
        reason: "the permission is a known step out of a container or into other processes",
    },
    Rule {
        id: "duplicate-inherit",
        reason: "inheriting a block twice does nothing, or keeps the policy from being compiled",
    },
    Rule {
        id: "duplicate-permission",
        reason: "naming a permission twice does nothing",
    },
    Rule {
        id: "empty-permissions",
        reason: "a class without permissions allows nothing, and is left out of the policy",
    },
    Rule {
        id: "misspelled-type",
        reason: "a policy with a type that the node does not have cannot be installed",
    },
    Rule {
        id: "no-process",
        reason: "pods use a policy by its type `process`; without one nobody can use it",
    },
    Rule {
        id: "old-block-name",
        reason: "earlier versions called the block of a raw profile NAME_, so that its usage did not work",
    },
    Rule {
        id: "permissive",
        reason: "a permissive profile logs what it does not allow, and denies nothing",
    },
    Rule {
        id: "self-by-name",
        reason: "`@self` stays right when the profile is renamed or copied",
    },
    Rule {
        id: "unknown-class",
        reason: "a policy with a class that the node does not have cannot be installed",
    },
    Rule {
        id: "unknown-permission",
        reason: "a policy with a permission that the class does not have cannot be installed",
    },
];

pub(super) fn permissive(place: Place, problems: &mut Problems<'_>) {
    let message = PERMISSIVE.to_owned();
    let help = "`Enforcing` denies what is not allowed".to_owned();
    problems.lint("permissive", place, message, Some(help));
}

const PERMISSIVE: &str = "nothing is denied under this profile";

/// The same for a policy in CIL.
pub(super) fn permissive_text() -> (String, String) {
    let help = "without this statement, what is not allowed is denied";
    (PERMISSIVE.to_owned(), help.to_owned())
}

pub(super) fn no_process_text(what: &str) -> (String, String) {
    (
        format!("the {what} has no type `process`"),
        "write `(blockinherit container)` or `(type process)`".to_owned(),
    )
}

pub(super) fn target(name: &str, place: Place, profile: Option<&str>, problems: &mut Problems<'_>) {
    if let Some(what) = risk::broad(name) {
        let (message, help) = broad_text(name, what);
        problems.lint("broad-attribute", place, message, Some(help));
    }
    let own = profile.is_some_and(|profile| usage(profile) == name);
    if own || name == "self" || name == "process" {
        let message = format!("{} is the profile's own type", quoted(name));
        let help = format!("write `{SELF}`");
        problems.lint("self-by-name", place, message, Some(help));
    } else if let Some(near) = classes::suggest_type(name) {
        let message = format!("{} looks like a misspelled type", quoted(name));
        let help = format!("did you mean `{near}`?");
        problems.lint("misspelled-type", place, message, Some(help));
    }
}

pub(super) fn broad_text(name: &str, what: &str) -> (String, String) {
    (
        format!("{} stands for {what}", quoted(name)),
        "name the types that are needed".to_owned(),
    )
}

pub(super) fn permission(class: &str, name: &str, place: Place, problems: &mut Problems<'_>) {
    if let Some(message) = dangerous_text(class, name) {
        problems.lint("dangerous-permission", place, message, None);
    }
}

pub(super) fn dangerous_text(class: &str, name: &str) -> Option<String> {
    let reason = risk::reason(class, name)?;
    Some(format!("{} on {} {reason}", quoted(name), quoted(class)))
}

pub(super) fn duplicate(name: &str, place: Place, problems: &mut Problems<'_>) {
    let message = format!("{} is listed twice", quoted(name));
    problems.lint("duplicate-permission", place, message, None);
}

pub(super) fn empty(class: &str, place: Place, problems: &mut Problems<'_>) {
    let message = format!("no permission on {} is allowed here", quoted(class));
    let help = "list what is allowed, or leave the class out".to_owned();
    problems.lint("empty-permissions", place, message, Some(help));
}

pub(super) fn unknown_class(class: &str, place: Place, problems: &mut Problems<'_>) {
    // Suggestions cost time, and this one might not be seen.
    let help = problems.warnings_are_told().then(|| class_help(class));
    let message = format!("unknown class {}", quoted(class));
    problems.lint("unknown-class", place, message, help);
}

pub(super) fn class_help(class: &str) -> String {
    match classes::suggest_class(class) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "the node's policy must define it".to_owned(),
    }
}

pub(super) fn unknown_permission(
    class: &str,
    name: &str,
    place: Place,
    problems: &mut Problems<'_>,
) {
    if let Some(message) = unknown_permission_text(class, name) {
        let help = problems
            .warnings_are_told()
            .then(|| permission_help(class, name));
        problems.lint("unknown-permission", place, message, help);
    }
}

pub(super) fn unknown_permission_text(class: &str, name: &str) -> Option<String> {
    let mut known = classes::permissions(class)?;
    if known.any(|one| one == name) {
        return None;
    }
    Some(format!(
        "{} has no permission {}",
        quoted(class),
        quoted(name)
    ))
}

pub(super) fn permission_help(class: &str, name: &str) -> String {
    match classes::suggest_permission(class, name) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "the node's policy must define it".to_owned(),
    }
}
