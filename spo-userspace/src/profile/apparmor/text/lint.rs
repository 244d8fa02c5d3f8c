//! What is allowed in policy text, and likely not meant.

use super::{Content, TextProfile};
use crate::profile::apparmor::access::Access;
use crate::profile::apparmor::glob::{Glob, Kind};
use crate::profile::apparmor::index::Index;
use crate::profile::apparmor::lint::{broad_capability, broad_write, exec_and_write, no_effect};
use crate::profile::apparmor::rules::FileRule;
use crate::profile::diagnostic::quoted;
use crate::profile::fields::Problems;
use crate::profile::tree::Place;

/// Notes what is found in a profile, and in those inside of it.
pub(super) fn lint(profile: &TextProfile, problems: &mut Problems<'_>) {
    let mut files: Vec<(&FileRule, Place, Glob)> = Vec::new();
    let mut denied = Index::default();
    for rule in &profile.rules {
        match &rule.content {
            Content::Capability(words) if !rule.denied => {
                broad_capability(words, rule.place, problems);
            }
            Content::File(file) => {
                // The parser took it as a pattern already.
                let Ok(glob) = Glob::new(&file.path) else {
                    continue;
                };
                if rule.denied {
                    denied.add(&file.path, glob, file.access);
                } else {
                    files.push((file, rule.place, glob));
                }
            }
            _ => {}
        }
    }
    let index = |wanted: &dyn Fn(&FileRule) -> bool| {
        let mut index = Index::default();
        for (file, _, glob) in files.iter().filter(|(file, ..)| wanted(file)) {
            index.add(&file.path, glob.clone(), file.access);
        }
        index
    };
    let granted = index(&|file| !file.owner);
    let writable = index(&|file| file.access.has(Access::APPEND));
    for (file, place, glob) in &files {
        let FileRule { path, access, .. } = file;
        if access.has(Access::WRITE) {
            broad_write(path, *place, problems);
        }
        if access.has(Access::EXECUTE) && !writable.overlapping(glob).is_none() {
            exec_and_write(path, *place, problems);
        }
        if glob.kind() != Kind::Pattern && granted.covering(glob).has(*access) {
            no_effect(path, "pattern of another rule", *place, problems);
        }
        if !denied.containing(path, glob).and(*access).is_none() {
            let message = format!("{} is denied by another rule in part", quoted(path));
            let help = "a rule that denies wins over all that allow".to_owned();
            problems.lint("contradiction", *place, message, Some(help));
        }
    }
    for child in &profile.children {
        lint(child, problems);
    }
}
