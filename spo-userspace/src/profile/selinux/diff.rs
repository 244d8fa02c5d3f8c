//! What one profile allows and another does not.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::{Inherit, Mode, SELF, SelinuxSpec, risk};
use crate::profile::state::State;

/// One permission on one class of objects of one type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Access {
    /// The type of the object.
    pub target: String,
    /// The class of the object.
    pub class: String,
    /// The permission.
    pub permission: String,
    /// Why it deserves a second look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<&'static str>,
}

/// A value on both sides, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Changed<T> {
    /// In the first profile.
    pub from: T,
    /// In the second one.
    pub to: T,
}

/// How a second profile differs from a first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Whether it is to be installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Changed<State>>,
    /// Whether it is enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Changed<Mode>>,
    /// Whether the first one is permissive, so that the second cannot allow more.
    #[serde(skip)]
    from_permissive: bool,
    /// What it inherits besides.
    pub inherits_added: Vec<Inherit>,
    /// What it inherits no more.
    pub inherits_removed: Vec<Inherit>,
    /// What it allows besides.
    pub added: Vec<Access>,
    /// What it allows no more.
    pub removed: Vec<Access>,
}

/// Compares two profiles by what they allow; order and repetition do not count.
pub fn diff(first: &SelinuxSpec, second: &SelinuxSpec) -> Diff {
    let (from, to) = (accesses(first), accesses(second));
    let (from_blocks, to_blocks) = (first.blocks(), second.blocks());
    Diff {
        state: changed(first.state, second.state),
        mode: changed(first.mode, second.mode),
        from_permissive: first.mode == Mode::Permissive,
        inherits_added: to_blocks.difference(&from_blocks).cloned().collect(),
        inherits_removed: from_blocks.difference(&to_blocks).cloned().collect(),
        added: to.difference(&from).cloned().collect(),
        removed: from.difference(&to).cloned().collect(),
    }
}

impl Diff {
    /// Whether there is no difference.
    pub fn is_same(&self) -> bool {
        let Self {
            state,
            mode,
            from_permissive: _,
            inherits_added,
            inherits_removed,
            added,
            removed,
        } = self;
        state.is_none()
            && mode.is_none()
            && inherits_added.is_empty()
            && inherits_removed.is_empty()
            && added.is_empty()
            && removed.is_empty()
    }

    /// Whether a process may do more under the second profile. What a permissive profile lists
    /// does not count, as it denies nothing.
    pub fn widens(&self) -> bool {
        let to_permissive = self
            .mode
            .is_some_and(|changed| changed.to == Mode::Permissive);
        !self.from_permissive
            && (to_permissive || !self.inherits_added.is_empty() || !self.added.is_empty())
    }
}

/// One line a difference: `+` for what the second profile has besides, `-` for what it lacks.
impl fmt::Display for Diff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            state,
            mode,
            from_permissive: _,
            inherits_added,
            inherits_removed,
            added,
            removed,
        } = self;
        if self.is_same() {
            return writeln!(formatter, "no difference");
        }
        if let Some(Changed { from, to }) = state {
            writeln!(formatter, "state: {from} becomes {to}")?;
        }
        if let Some(Changed { from, to }) = mode {
            let words = match to {
                Mode::Permissive => "nothing is denied any more",
                Mode::Enforcing => "what is not allowed is denied",
            };
            writeln!(formatter, "mode: {from} becomes {to}: {words}")?;
        }
        for (sign, inherits) in [("+", inherits_added), ("-", inherits_removed)] {
            for Inherit { kind, name } in inherits {
                writeln!(formatter, "{sign} inherits {kind} {name}")?;
            }
        }
        for (sign, list) in [("+", added), ("-", removed)] {
            for access in list {
                writeln!(formatter, "{sign} {access}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            class,
            permission,
            risk,
        } = self;
        let target = match target.as_str() {
            SELF => "its own processes",
            other => other,
        };
        write!(formatter, "{permission} on {class} of {target}")?;
        match risk {
            Some(risk) => write!(formatter, " (risk: {risk})"),
            None => Ok(()),
        }
    }
}

fn changed<T: PartialEq>(from: T, to: T) -> Option<Changed<T>> {
    (from != to).then_some(Changed { from, to })
}

fn accesses(spec: &SelinuxSpec) -> BTreeSet<Access> {
    let mut all = BTreeSet::new();
    for (target, classes) in &spec.allow {
        for (class, permissions) in classes {
            for permission in permissions {
                all.insert(Access {
                    target: target.clone(),
                    class: class.clone(),
                    permission: permission.clone(),
                    risk: risk::reason(class, permission),
                });
            }
        }
    }
    all
}
