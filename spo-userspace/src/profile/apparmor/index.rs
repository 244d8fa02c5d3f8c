//! Many patterns, and which of them a path meets.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use super::access::Access;
use super::glob::{Glob, Kind};

/// How many steps of matching an index takes. A recorded profile needs some thousands; after this
/// many, the answers are the safe ones: nothing is covered, everything overlaps.
const MOST_STEPS: usize = 50_000_000;

/// Patterns with what they allow.
#[derive(Debug)]
pub(super) struct Index {
    literals: BTreeMap<String, (Glob, Access)>,
    /// The others, by the text before their first special character.
    others: HashMap<String, Vec<(Glob, Access)>>,
    left: Cell<usize>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            literals: BTreeMap::new(),
            others: HashMap::new(),
            left: Cell::new(MOST_STEPS),
        }
    }
}

impl Index {
    /// Adds a pattern, or to what it allows.
    pub(super) fn add(&mut self, path: &str, glob: Glob, access: Access) {
        if glob.kind() == Kind::Literal {
            let (_, known) = self
                .literals
                .entry(path.to_owned())
                .or_insert((glob, Access::NONE));
            *known = known.or(access);
        } else {
            self.others
                .entry(glob.prefix().to_owned())
                .or_default()
                .push((glob, access));
        }
    }

    /// Whether there is this very literal.
    pub(super) fn holds(&self, path: &str) -> bool {
        self.literals.contains_key(path)
    }

    /// What the patterns allow that cover this path. Only patterns cover, so that of two equal
    /// paths one remains.
    pub(super) fn covering(&self, path: &Glob) -> Access {
        if path.kind() == Kind::Pattern {
            return Access::NONE;
        }
        let mut access = Access::NONE;
        for (other, allowed) in self.with_prefix_of(path) {
            if other.kind() != Kind::Pattern || access.has(*allowed) {
                continue;
            }
            if !self.spend(other.cost(path)) {
                return Access::NONE;
            }
            if other.covers(path) {
                access = access.or(*allowed);
            }
        }
        access
    }

    /// What is allowed for all that this path stands for: by itself, or by a wider pattern.
    pub(super) fn containing(&self, path: &Glob) -> Access {
        let mut access = self
            .literals
            .get(path.prefix())
            .filter(|_| path.kind() == Kind::Literal)
            .map_or(Access::NONE, |(_, allowed)| *allowed);
        for (other, allowed) in self.with_prefix_of(path) {
            if access.has(*allowed) {
                continue;
            }
            if !self.spend(other.cost(path)) {
                return Access::NONE;
            }
            if other.covers(path) {
                access = access.or(*allowed);
            }
        }
        access
    }

    /// What the patterns allow that may be for one of the same files.
    pub(super) fn overlapping(&self, path: &Glob) -> Access {
        let mut access = Access::NONE;
        if path.kind() == Kind::Literal {
            if let Some((_, allowed)) = self.literals.get(path.prefix()) {
                access = *allowed;
            }
            for (other, allowed) in self.with_prefix_of(path) {
                if access.has(*allowed) {
                    continue;
                }
                if !self.spend(other.cost(path)) {
                    return Access::ALL;
                }
                if other.overlaps(path) {
                    access = access.or(*allowed);
                }
            }
            return access;
        }
        let below = self.literals.range(path.prefix().to_owned()..);
        for (literal, (other, allowed)) in below {
            if !literal.starts_with(path.prefix()) {
                break;
            }
            if access.has(*allowed) {
                continue;
            }
            if !self.spend(path.cost(other)) {
                return Access::ALL;
            }
            if path.overlaps(other) {
                access = access.or(*allowed);
            }
        }
        for (other, allowed) in self.others.values().flatten() {
            if !self.spend(1) {
                return Access::ALL;
            }
            if path.overlaps(other) {
                access = access.or(*allowed);
            }
        }
        access
    }

    /// The patterns whose beginning is also the beginning of this path.
    fn with_prefix_of<'a>(
        &'a self,
        path: &'a Glob,
    ) -> impl Iterator<Item = &'a (Glob, Access)> + 'a {
        let prefix = path.prefix();
        let ends = prefix.char_indices().map(|(at, _)| at);
        ends.chain([prefix.len()])
            .filter_map(|end| self.others.get(&prefix[..end]))
            .flatten()
    }

    fn spend(&self, steps: usize) -> bool {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or_default());
        left.is_some()
    }
}
