//! A profile in a form that can be joined: what it grants and what it denies, path by path.
//!
//! The lists of an object mix the two: a path of `readOnlyPaths` grants reading, and denies
//! changing, also to what other lists grant. Such a denial counts here only where it takes
//! something away from the same profile; elsewhere it only keeps the log quiet. Denials of
//! `rules.deny` always count.
//!
//! The form is unique: a path is left with the access that no pattern of the profile grants it
//! already. Patterns themselves are never left out, so that the order in which profiles are
//! joined changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::access::Access;
use super::check::{hatch, listed_path};
use super::glob::Glob;
use super::index::Index;
use super::model::{Abstract, AppArmorSpec, Capabilities, Executable, Filesystem, Mode, Network};
use super::rules::{FileRule, PtraceRule, RuleSet, Rules};
use super::words::Word;
use crate::profile::state::State;

const EXECUTABLE: Access = Access::READ.or(Access::EXECUTE);
const LIBRARY: Access = Access::READ.or(Access::MAP);
/// What the lists of file systems are about.
const FILES: Access = Access::READ_CHANGE;

/// A path, and whether the file must belong to the process's user.
pub(super) type Key = (String, bool);

#[derive(Clone, Debug)]
pub(super) struct Canon {
    pub(super) state: State,
    pub(super) mode: Mode,
    pub(super) grants: BTreeMap<Key, Access>,
    /// Paths of `readOnlyPaths` that take changing away from a wider path.
    pub(super) kept_unchanged: BTreeSet<String>,
    /// Paths of `writeOnlyPaths` that take reading away from a wider path.
    pub(super) kept_unread: BTreeSet<String>,
    /// Of `rules.deny`.
    pub(super) denies: BTreeMap<String, Access>,
    pub(super) network: Option<Network>,
    pub(super) capabilities: BTreeSet<Word>,
    /// Without files and capabilities.
    pub(super) allow: RuleSet,
    /// Without files.
    pub(super) deny: RuleSet,
}

impl Canon {
    pub(super) fn new(spec: &AppArmorSpec) -> Self {
        let AppArmorSpec {
            state,
            mode,
            abstract_,
        } = spec;
        let Abstract {
            executable,
            filesystem,
            network,
            capability,
            rules,
        } = abstract_;
        let mut canon = Self {
            state: *state,
            mode: *mode,
            grants: BTreeMap::new(),
            kept_unchanged: BTreeSet::new(),
            kept_unread: BTreeSet::new(),
            denies: BTreeMap::new(),
            network: *network,
            capabilities: capability.allowed_capabilities.clone(),
            allow: RuleSet {
                file: BTreeSet::new(),
                ..rules.allow.clone()
            },
            deny: RuleSet {
                file: BTreeSet::new(),
                ..rules.deny.clone()
            },
        };
        // It has no place there, and the writers refuse it.
        canon.allow.capability.clear();
        for (paths, access) in [
            (&executable.allowed_executables, EXECUTABLE),
            (&executable.allowed_libraries, LIBRARY),
            (&filesystem.read_only_paths, Access::READ),
            (&filesystem.write_only_paths, Access::CHANGE),
            (&filesystem.read_write_paths, FILES),
        ] {
            for path in paths {
                canon.grant_listed(path, access);
            }
        }
        for FileRule {
            path,
            access,
            owner,
        } in &rules.allow.file
        {
            canon.grant(path, *access, *owner);
        }
        for rule in &rules.deny.file {
            let denied = canon.denies.entry(rule.path.clone()).or_default();
            *denied = denied.or(rule.access);
        }
        // What is in both lists is denied both.
        let (read_only, write_only) = (&filesystem.read_only_paths, &filesystem.write_only_paths);
        for path in read_only.intersection(write_only) {
            if hatch(path).is_none() {
                let denied = canon.denies.entry(path.clone()).or_default();
                *denied = denied.or(FILES);
            }
        }
        for (paths, denied) in [(read_only, Access::CHANGE), (write_only, Access::READ)] {
            for path in paths.iter().filter(|path| hatch(path).is_none()) {
                for owner in [false, true] {
                    if let Some(access) = canon.grants.get_mut(&(path.clone(), owner)) {
                        *access = access.beyond(denied);
                    }
                }
            }
        }
        canon.absorb();
        let index = canon.index();
        let kept = |list: &BTreeSet<String>, other: &BTreeSet<String>, denied| {
            effective(list.difference(other), denied, &index)
        };
        canon.kept_unchanged = kept(read_only, write_only, Access::CHANGE);
        canon.kept_unread = kept(write_only, read_only, Access::READ);
        canon
    }

    fn grant_listed(&mut self, path: &str, access: Access) {
        if let Some(word) = hatch(path) {
            self.allow.ptrace.insert(PtraceRule {
                access: BTreeSet::from([word]),
                peer: None,
            });
        } else {
            self.grant(path, access, false);
        }
    }

    fn grant(&mut self, path: &str, access: Access, owner: bool) {
        let known = self.grants.entry((path.to_owned(), owner)).or_default();
        *known = known.or(access);
    }

    /// Leaves out what patterns grant already.
    pub(super) fn absorb(&mut self) {
        let mut for_all = Index::default();
        let mut for_owner = Index::default();
        for ((path, owner), access) in &self.grants {
            let index = if *owner { &mut for_owner } else { &mut for_all };
            add(index, path, *access);
        }
        let whole = self.grants.clone();
        for ((path, owner), access) in &mut self.grants {
            let Some(glob) = glob(path) else {
                continue;
            };
            let mut covered = for_all.covering(&glob);
            if *owner {
                let same = whole.get(&(path.clone(), false)).copied();
                covered = covered
                    .or(for_owner.covering(&glob))
                    .or(same.unwrap_or_default());
            }
            *access = access.beyond(covered);
        }
        self.grants.retain(|_, access| !access.is_none());
    }

    /// All that is granted, by path.
    pub(super) fn index(&self) -> Index {
        let mut index = Index::default();
        for ((path, _), access) in &self.grants {
            add(&mut index, path, *access);
        }
        index
    }

    /// Back to lists. What the lists cannot say is a rule.
    pub(super) fn fold(&self) -> AppArmorSpec {
        let mut executable = Executable::default();
        let mut filesystem = Filesystem::default();
        let mut allow = self.allow.clone();
        let mut deny = self.deny.clone();
        let mut rule = |path: &str, access: Access, owner: bool| {
            allow.file.insert(FileRule {
                path: path.to_owned(),
                access,
                owner,
            });
        };
        let mut for_all = Index::default();
        for ((path, _), access) in self.grants.iter().filter(|((_, owner), _)| !owner) {
            add(&mut for_all, path, *access);
        }
        let index = self.index();
        let mut paths: BTreeMap<&str, Access> = BTreeMap::new();
        for path in self.kept_unchanged.iter().chain(&self.kept_unread) {
            paths.insert(path, Access::NONE);
        }
        for ((path, owner), access) in &self.grants {
            if *owner {
                rule(path, *access, true);
            } else {
                paths.insert(path, *access);
            }
        }
        for (path, mut granted) in paths {
            let whole = granted.or(glob(path).map_or(Access::NONE, |glob| for_all.covering(&glob)));
            let mut read_already = false;
            for (needed, own, list, is_program) in [
                (
                    EXECUTABLE,
                    Access::EXECUTE,
                    &mut executable.allowed_executables,
                    true,
                ),
                (
                    LIBRARY,
                    Access::MAP,
                    &mut executable.allowed_libraries,
                    false,
                ),
            ] {
                if granted.has(own) && whole.has(needed) && listed_path(path, is_program).is_ok() {
                    list.insert(path.to_owned());
                    granted = granted.without(own);
                    read_already = true;
                }
            }
            if read_already && granted == Access::READ {
                granted = Access::NONE;
            }
            let (list, left) = self.list_of(path, granted, whole, &index);
            let list = match list {
                Some(Listed::ReadOnly) => Some(&mut filesystem.read_only_paths),
                Some(Listed::WriteOnly) => Some(&mut filesystem.write_only_paths),
                Some(Listed::ReadWrite) => Some(&mut filesystem.read_write_paths),
                None => None,
            };
            if let Some(list) = list {
                list.insert(path.to_owned());
            }
            if !left.is_none() {
                rule(path, left, false);
            }
        }
        for (path, access) in &self.denies {
            deny.file.insert(FileRule {
                path: path.clone(),
                access: *access,
                owner: false,
            });
        }
        AppArmorSpec {
            state: self.state,
            mode: self.mode,
            abstract_: Abstract {
                executable,
                filesystem,
                network: self.network,
                capability: Capabilities {
                    allowed_capabilities: self.capabilities.clone(),
                },
                rules: Rules { allow, deny },
            },
        }
    }

    /// The list for a path, and the access that the list does not say. A list whose denial would
    /// take away what another path grants is not for it.
    fn list_of(
        &self,
        path: &str,
        granted: Access,
        whole: Access,
        index: &Index,
    ) -> (Option<Listed>, Access) {
        if self.kept_unchanged.contains(path) {
            return (Some(Listed::ReadOnly), granted.beyond(Access::READ));
        }
        if self.kept_unread.contains(path) {
            return (Some(Listed::WriteOnly), granted.beyond(Access::CHANGE));
        }
        let files = granted.and(FILES);
        let Some(glob) = glob(path).filter(|_| listed_path(path, false).is_ok()) else {
            return (None, granted);
        };
        if files.is_none() {
            return (None, granted);
        }
        if whole.has(FILES) {
            return (Some(Listed::ReadWrite), granted.beyond(FILES));
        }
        let others = index.overlapping(&glob);
        if files == Access::READ && others.and(Access::CHANGE).is_none() {
            return (Some(Listed::ReadOnly), granted.beyond(Access::READ));
        }
        if whole.has(Access::CHANGE) && others.and(Access::READ).is_none() {
            return (Some(Listed::WriteOnly), granted.beyond(Access::CHANGE));
        }
        (None, granted)
    }
}

enum Listed {
    ReadOnly,
    WriteOnly,
    ReadWrite,
}

/// A pattern that is not well formed covers nothing and is covered by nothing; writers refuse it.
pub(super) fn glob(path: &str) -> Option<Glob> {
    Glob::new(path).ok()
}

fn add(index: &mut Index, path: &str, access: Access) {
    if let Some(glob) = glob(path) {
        index.add(path, glob, access);
    }
}

/// The paths whose denial takes something away.
fn effective<'a>(
    paths: impl Iterator<Item = &'a String>,
    denied: Access,
    index: &Index,
) -> BTreeSet<String> {
    paths
        .filter(|path| hatch(path).is_none())
        .filter(|path| {
            glob(path).is_some_and(|glob| !index.overlapping(&glob).and(denied).is_none())
        })
        .cloned()
        .collect()
}
