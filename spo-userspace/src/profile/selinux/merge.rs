//! Merging profiles, and switching enforcement.

use std::collections::BTreeSet;

use super::{CONTAINER, Inherit, InheritKind, Mode, SelinuxSpec};
use crate::profile::state::State;

/// A profile that allows what any of the profiles allows, and nothing more. Of none, it is the
/// default one.
///
/// - It is permissive if one of them is, since that one denies nothing.
/// - It inherits what any of them inherits, sorted. [`CONTAINER`] stays if one of them names it or
///   does so without saying it, even where another profile brings it along.
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
            inherit,
            allow,
        } = spec;
        if *state == State::Enabled {
            merged.state = State::Enabled;
        }
        if *mode == Mode::Permissive {
            merged.mode = Mode::Permissive;
        }
        inherits.extend(inherit.iter().cloned());
        inherits.extend(container_of(inherit));
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
    merged
}

/// [`merge`] for a profile of this name. Whichever of the profiles inherits it, it does not inherit
/// itself: what it allows should be among the profiles.
pub fn merge_as(name: &str, specs: &[&SelinuxSpec]) -> SelinuxSpec {
    let mut merged = merge(specs);
    merged
        .inherit
        .retain(|one| one.kind != InheritKind::SelinuxProfile || one.name != name);
    let container = container_of(&merged.inherit);
    merged.inherit.extend(container);
    merged.inherit.sort();
    merged.inherit.dedup();
    merged
}

/// What is inherited without being named, unless another profile brings it.
fn container_of(inherit: &[Inherit]) -> Option<Inherit> {
    let brought = inherit
        .iter()
        .any(|one| one.kind == InheritKind::SelinuxProfile);
    (!brought).then(|| Inherit::system(CONTAINER))
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
