//! Merging profiles, and switching enforcement.

use std::collections::BTreeSet;

use super::{Inherit, Mode, SelinuxSpec};
use crate::profile::state::State;

/// A profile that allows what any of the profiles allows, and nothing more. Of none, it is the
/// default one.
///
/// - It is permissive if one of them is, since that one denies nothing.
/// - It inherits what any of them inherits, sorted.
/// - It is enabled if one of them is.
pub fn merge(specs: &[&SelinuxSpec]) -> SelinuxSpec {
    let Some(first) = specs.first() else {
        return SelinuxSpec::default();
    };
    let mut merged = SelinuxSpec {
        state: State::Disabled,
        mode: first.mode,
        inherit: Vec::new(),
        allow: super::Allow::new(),
    };
    let mut inherits: BTreeSet<Inherit> = BTreeSet::new();
    for spec in specs {
        let SelinuxSpec {
            state,
            mode,
            inherit: _,
            allow,
        } = spec;
        if *state == State::Enabled {
            merged.state = State::Enabled;
        }
        if *mode == Mode::Permissive {
            merged.mode = Mode::Permissive;
        }
        inherits.extend(spec.blocks());
        for (target, classes) in allow {
            let merged = merged.allow.entry(target.clone()).or_default();
            for (class, permissions) in classes {
                merged
                    .entry(class.clone())
                    .or_default()
                    .extend(permissions.iter().cloned());
            }
        }
    }
    merged.inherit = inherits.into_iter().collect();
    for permissions in merged.allow.values_mut().flat_map(|one| one.values_mut()) {
        permissions.sort();
        permissions.dedup();
    }
    merged.inherit = merged.blocks().into_iter().collect();
    merged
}

/// The same profile, but nothing is denied: what it does not allow is logged.
#[must_use]
pub fn complain(spec: &SelinuxSpec) -> SelinuxSpec {
    SelinuxSpec {
        mode: Mode::Permissive,
        ..spec.clone()
    }
}

/// The same profile, enforced.
#[must_use]
pub fn enforce(spec: &SelinuxSpec) -> SelinuxSpec {
    SelinuxSpec {
        mode: Mode::Enforcing,
        ..spec.clone()
    }
}
