//! What is allowed in a profile, and likely not meant.

use super::access::Access;
use super::check::hatch;
use super::glob::{Glob, Kind};
use super::index::Index;
use super::read::{List, Places};
use super::words::Word;
use crate::profile::diagnostic::quoted;
use crate::profile::fields::Problems;
use crate::profile::lint::Rule;
use crate::profile::tree::Place;

/// The lints of this kind, each with its reason.
pub const LINTS: &[Rule] = &[
    Rule {
        id: "broad-write",
        reason: "whoever may write everywhere can replace programs and configuration, and the profile \
         protects nothing",
    },
    Rule {
        id: "broad-capability",
        reason: "the capability is enough to get around the profile, or to take over the node",
    },
    Rule {
        id: "contradiction",
        reason: "a path that one list allows and another denies is denied, whatever was meant",
    },
    Rule {
        id: "exec-and-write",
        reason: "a program that the process may change and execute is any program",
    },
    Rule {
        id: "no-effect",
        reason: "a path that a pattern of the same list covers adds nothing",
    },
];

/// Capabilities that are enough to leave a container, and what a process can do with them.
pub(super) const BROAD_CAPABILITIES: &[(&str, &str)] = &[
    ("bpf", "load programs into the kernel"),
    ("dac_override", "read and write every file"),
    (
        "dac_read_search",
        "read every file, also through a handle from outside the container",
    ),
    ("mac_admin", "replace this very profile"),
    ("mac_override", "walk around security modules"),
    (
        "sys_admin",
        "mount, and much else that breaks out of a container",
    ),
    ("sys_boot", "restart the node"),
    ("sys_module", "load modules into the kernel"),
    ("sys_ptrace", "read and steer other processes"),
    (
        "sys_rawio",
        "write to disks and memory; it also allows all mounts here",
    ),
];

/// Notes what is found.
pub(super) fn lint(places: &Places, problems: &mut Problems<'_>) {
    for (word, place) in &places.capabilities {
        broad_capability(&[*word], *place, problems);
    }
    let globs: Vec<_> = places
        .paths
        .iter()
        .filter(|(path, ..)| hatch(path).is_none())
        .filter_map(|(path, list, place)| Some((path, *list, *place, Glob::new(path).ok()?)))
        .collect();
    let index = |wanted: &dyn Fn(List) -> bool| {
        let mut index = Index::default();
        for (path, list, _, glob) in &globs {
            if wanted(*list) {
                index.add(path, glob.clone(), Access::ALL);
            }
        }
        index
    };
    let lists = [
        List::Executables,
        List::Libraries,
        List::ReadOnly,
        List::WriteOnly,
        List::ReadWrite,
    ]
    .map(|list| (list, index(&|other| other == list)));
    let writable = index(&|list| matches!(list, List::WriteOnly | List::ReadWrite));
    for (path, list, place, glob) in &globs {
        let writes = matches!(list, List::WriteOnly | List::ReadWrite);
        if writes {
            broad_write(path, *place, problems);
        }
        if *list == List::Executables && !writable.overlapping(glob).is_none() {
            exec_and_write(path, *place, problems);
        }
        let same = lists.iter().find(|(other, _)| other == list);
        if glob.kind() != Kind::Pattern
            && same.is_some_and(|(_, index)| !index.covering(glob).is_none())
        {
            no_effect(path, "pattern of the same list", *place, problems);
        }
        // Each of a pair would be told; the later list is enough.
        let denied_by = match list {
            List::WriteOnly => &[List::ReadOnly][..],
            List::ReadWrite => &[List::ReadOnly, List::WriteOnly],
            _ => &[],
        };
        let against = lists
            .iter()
            .filter(|(other, _)| denied_by.contains(other))
            .any(|(_, index)| index.holds(path) || !index.covering(glob).is_none());
        if against {
            let message = format!("{} is denied by another list in part", quoted(path));
            let help = "a path of `readOnlyPaths` is denied writing, one of `writeOnlyPaths` \
                        reading, even where another list allows it";
            problems.lint("contradiction", *place, message, Some(help.to_owned()));
        }
    }
}

/// Notes the capabilities of a list that are too much. Of many, those at once.
pub(super) fn broad_capability(words: &[Word], place: Place, problems: &mut Problems<'_>) {
    for (broad, able) in BROAD_CAPABILITIES {
        if words.contains(broad) {
            let message = format!("with `{broad}`, the process can {able}");
            problems.lint("broad-capability", place, message, None);
        }
    }
}

/// Notes a path that may be written to, if it is everything.
pub(super) fn broad_write(path: &str, place: Place, problems: &mut Problems<'_>) {
    if is_everything(path) {
        let message = format!("{} lets the process write everywhere", quoted(path));
        let help = "name the folders that it writes to".to_owned();
        problems.lint("broad-write", place, message, Some(help));
    }
}

pub(super) fn exec_and_write(path: &str, place: Place, problems: &mut Problems<'_>) {
    let message = format!("{} may be executed, and changed as well", quoted(path));
    let help = "keep what is executed and what is written apart".to_owned();
    problems.lint("exec-and-write", place, message, Some(help));
}

/// Notes a path that `by` covers: a pattern of its list, or a rule.
pub(super) fn no_effect(path: &str, by: &str, place: Place, problems: &mut Problems<'_>) {
    let message = format!("{} is covered by a {by}", quoted(path));
    problems.lint("no-effect", place, message, Some("leave it out".to_owned()));
}

/// Whether a pattern is for all files, or for those of nearly every folder.
pub(super) fn is_everything(path: &str) -> bool {
    matches!(
        path,
        "/**" | "/*/**" | "/**/*" | "/{,**}" | "/{**,}" | "/*/{,**}" | "/**/**"
    )
}
