//! Profiles that add to others by name.

use std::collections::BTreeSet;

use thiserror::Error;

use super::merge::{Merged, Rules};
use super::verdict::{Call, Calls, Verdict};
use super::{Note, SeccompSpec};
use crate::profile::diagnostic::quoted;

/// How many bases may stand above each other.
pub const MOST_BASES: usize = 15;
/// The beginning of a base's name that is an artifact in a registry.
const REGISTRY: &str = "oci://";

/// Why a profile's bases cannot be taken in.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BaseError {
    /// There is no profile of that name.
    #[error("there is no profile {}", quoted(.name))]
    Missing {
        /// The name.
        name: String,
    },
    /// The name is one of a registry.
    #[error("not supported yet: registry artifact {} as a base profile", quoted(.reference))]
    Registry {
        /// The whole name.
        reference: String,
    },
    /// A profile is its own base.
    #[error("the base profiles go in a circle: {}", chain(.names))]
    Cycle {
        /// The names on the way, the first and the last being the same.
        names: Vec<String>,
    },
    /// There are too many.
    #[error("more than {MOST_BASES} base profiles stand above each other: {}", chain(.names))]
    TooDeep {
        /// The names on the way.
        names: Vec<String>,
    },
}

/// A profile with the rules of its base, of that one's base, and so on.
///
/// Only rules are taken in: default action, architectures, flags and listener stay the profile's
/// own. A call that only bases name gets their rules. One that the profile names as well gets the
/// less restrictive of both; where a base's conditions do not hold, it says nothing.
///
/// `lookup` finds a profile by its name.
pub fn resolve_base(
    spec: &SeccompSpec,
    mut lookup: impl FnMut(&str) -> Option<SeccompSpec>,
) -> Result<Merged, BaseError> {
    let mut names: Vec<String> = Vec::new();
    let mut bases: Vec<SeccompSpec> = Vec::new();
    while let Some(name) = bases.last().unwrap_or(spec).base_profile_name.clone() {
        if name.starts_with(REGISTRY) {
            return Err(BaseError::Registry { reference: name });
        }
        if let Some(at) = names.iter().position(|known| *known == name) {
            let mut circle = names.split_off(at);
            circle.push(name);
            return Err(BaseError::Cycle { names: circle });
        }
        names.push(name.clone());
        if names.len() > MOST_BASES {
            return Err(BaseError::TooDeep { names });
        }
        let Some(base) = lookup(&name) else {
            return Err(BaseError::Missing { name });
        };
        bases.push(base);
    }
    Ok(with_rules_of(spec, &bases))
}

fn with_rules_of(spec: &SeccompSpec, bases: &[SeccompSpec]) -> Merged {
    let default = Verdict::of_default(spec);
    let own = Calls::of(spec);
    let added: Vec<_> = bases.iter().map(Calls::of_addition).collect();
    // Also those whose rules say what the default says: they were meant.
    let own_rules = spec.syscalls.iter().flat_map(|rule| &rule.names);
    let own_names: BTreeSet<_> = own_rules.map(String::as_str).collect();
    let added_names: BTreeSet<_> = added.iter().flat_map(Calls::names).collect();
    let names = added_names.union(&own_names).copied();
    let mut notes = Vec::new();
    let mut rules = Rules::new(default);
    for name in names {
        let from_bases = added.iter().filter_map(|calls| calls.named(name));
        let from_own = own_names.contains(name).then(|| own.get(name));
        let calls: Vec<Call> = from_own.into_iter().chain(from_bases.cloned()).collect();
        let shadowed = added
            .iter()
            .chain([&own])
            .any(|calls| calls.shadowed.contains(name));
        if shadowed {
            let message = "rules that never count beside its unconditional rule are left out";
            notes.push(Note::of(name, message));
        }
        rules.add(name, &calls, &mut notes);
    }
    notes.sort();
    Merged {
        spec: SeccompSpec {
            base_profile_name: None,
            syscalls: rules.finish(),
            ..spec.clone()
        },
        notes,
    }
}

fn chain(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    names.join(" -> ")
}
