//! Many patterns, and which of them a path meets.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use super::access::Access;
use super::glob::{Glob, Kind};

/// How many steps of matching an index takes. A recorded profile needs some thousands; after this
/// many, the answers are the safe ones: nothing is covered, everything overlaps.
const MOST_STEPS: usize = 20_000_000;

/// Patterns with what they allow.
#[derive(Debug)]
pub(super) struct Index {
    /// All of them as text, for the many that are simply equal.
    texts: HashMap<String, Access>,
    literals: BTreeMap<String, (Glob, Access)>,
    /// What any of them allows.
    all: Access,
    /// The others, by the text before their first special character.
    others: HashMap<String, Vec<(Glob, Access)>>,
    left: Cell<usize>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            texts: HashMap::new(),
            literals: BTreeMap::new(),
            all: Access::NONE,
            others: HashMap::new(),
            left: Cell::new(MOST_STEPS),
        }
    }
}

impl Index {
    /// Adds a pattern, or to what it allows.
    pub(super) fn add(&mut self, path: &str, glob: Glob, access: Access) {
        let known = self.texts.entry(path.to_owned()).or_default();
        *known = known.or(access);
        self.all = self.all.or(access);
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

    /// Whether there is this very text.
    pub(super) fn holds(&self, path: &str) -> bool {
        self.texts.contains_key(path)
    }

    /// What the patterns allow that cover this path. Only patterns cover, so that of two equal
    /// paths one remains.
    pub(super) fn covering(&self, path: &Glob) -> Access {
        if path.kind() == Kind::Pattern {
            return Access::NONE;
        }
        let patterns = self
            .with_prefix_of(path)
            .filter(|(other, _)| other.kind() == Kind::Pattern);
        self.covered(Access::NONE, path, patterns)
    }

    /// What is allowed for all that this path stands for: by itself, or by a wider pattern.
    pub(super) fn containing(&self, text: &str, path: &Glob) -> Access {
        let own = self.texts.get(text).copied().unwrap_or_default();
        self.covered(own, path, self.with_prefix_of(path))
    }

    fn covered<'a>(
        &self,
        own: Access,
        path: &Glob,
        others: impl Iterator<Item = &'a (Glob, Access)>,
    ) -> Access {
        let mut access = own;
        for (other, allowed) in others {
            if access.has(self.all) || !self.spend() {
                break;
            }
            if access.has(*allowed) {
                continue;
            }
            match other.covers(path, &self.left) {
                Some(true) => access = access.or(*allowed),
                Some(false) => {}
                None => break,
            }
        }
        access
    }

    /// What the patterns allow that may be for one of the same files.
    pub(super) fn overlapping(&self, path: &Glob) -> Access {
        if path.kind() == Kind::Literal {
            let own = self.literals.get(path.prefix());
            let own = own.map_or(Access::NONE, |(_, allowed)| *allowed);
            return self.overlapped(own, path, self.with_prefix_of(path));
        }
        let below = self
            .literals
            .range(path.prefix().to_owned()..)
            .take_while(|(literal, _)| literal.starts_with(path.prefix()))
            .map(|(_, other)| other);
        let literals = self.overlapped(Access::NONE, path, below);
        self.overlapped(literals, path, self.others.values().flatten())
    }

    fn overlapped<'a>(
        &self,
        own: Access,
        path: &Glob,
        others: impl Iterator<Item = &'a (Glob, Access)>,
    ) -> Access {
        let mut access = own;
        for (other, allowed) in others {
            if access.has(self.all) {
                break;
            }
            if !self.spend() {
                return Access::ALL;
            }
            if access.has(*allowed) {
                continue;
            }
            match path.overlaps(other, &self.left) {
                Some(true) => access = access.or(*allowed),
                Some(false) => {}
                None => return Access::ALL,
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

    fn spend(&self) -> bool {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or_default());
        left.is_some()
    }
}
