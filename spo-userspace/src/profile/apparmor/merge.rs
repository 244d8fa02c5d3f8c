//! Joining profiles: what any of them allows, the result allows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::access::Access;
use super::canon::{Canon, glob};
use super::index::Index;
use super::model::{AppArmorSpec, Mode};
use super::rules::RuleSet;
use super::words::Word;
use crate::profile::diagnostic::quoted;
use crate::profile::state::State;

/// A joined profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The profile.
    pub spec: AppArmorSpec,
    /// What a reader should know about how it came about.
    pub notes: Vec<Note>,
}

/// Something about a joined profile that its lists do not show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// One of the profiles complains only, so the result does.
    Complain,
    /// One of the profiles is disabled, so the result is.
    Disabled,
    /// A rule of `rules.deny` is left out, as another profile may allow what it denies.
    DenyDropped {
        /// The rule, as policy text.
        rule: String,
    },
    /// A path loses its place in `readOnlyPaths` or `writeOnlyPaths`, and with it a denial, as
    /// another profile allows what is denied.
    Opened {
        /// The path.
        path: String,
    },
    /// A path is a rule of `rules.allow` now: a list would deny what another profile allows.
    BecameRule {
        /// The path.
        path: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complain => {
                formatter.write_str("one profile is in complain mode, and so is the merged one")
            }
            Self::Disabled => {
                formatter.write_str("one profile is disabled, and so is the merged one")
            }
            Self::DenyDropped { rule } => write!(
                formatter,
                "the rule {} is left out: another profile may allow what it denies",
                quoted(&format!("deny {rule}"))
            ),
            Self::Opened { path } => write!(
                formatter,
                "{} is no longer kept from what another profile allows",
                quoted(path)
            ),
            Self::BecameRule { path } => write!(
                formatter,
                "{} is in `rules.allow`, which older clients do not know: a list would deny what \
                 another profile allows",
                quoted(path)
            ),
        }
    }
}

/// Joins profiles. The result does not depend on their order, nor on the way in which they are
/// joined in several steps; the notes are about one step.
///
/// Without profiles, the result allows nothing.
pub fn merge(specs: &[&AppArmorSpec]) -> Merged {
    let canons: Vec<Canon> = specs.iter().map(|spec| Canon::new(spec)).collect();
    let mut notes = BTreeSet::new();
    let Some(mut joined) = canons.first().cloned() else {
        return Merged {
            spec: AppArmorSpec::default(),
            notes: Vec::new(),
        };
    };
    for other in &canons[1..] {
        join(&mut joined, other, &mut notes);
    }
    denials(&canons, &mut joined, &mut notes);
    joined.absorb();
    let spec = joined.fold();
    became_rules(specs, &spec, &mut notes);
    Merged {
        spec,
        notes: notes.into_iter().collect(),
    }
}

/// Adds what another profile allows.
fn join(joined: &mut Canon, other: &Canon, notes: &mut BTreeSet<Note>) {
    let Canon {
        state,
        mode,
        grants,
        kept_unchanged: _,
        kept_unread: _,
        denies: _,
        network,
        capabilities,
        allow,
        deny: _,
    } = other;
    if joined.state != *state {
        joined.state = State::Disabled;
        notes.insert(Note::Disabled);
    }
    if joined.mode != *mode {
        joined.mode = Mode::Complain;
        notes.insert(Note::Complain);
    }
    for (key, access) in grants {
        let known = joined.grants.entry(key.clone()).or_default();
        *known = known.or(*access);
    }
    joined.capabilities.extend(capabilities);
    if let Some(other) = network {
        let network = joined.network.get_or_insert_default();
        network.allow_raw |= other.allow_raw;
        network.allow_tcp |= other.allow_tcp;
        network.allow_udp |= other.allow_udp;
    }
    let RuleSet {
        file: _,
        capability: _,
        network,
        signal,
        ptrace,
        mount,
        unix,
        dbus,
    } = allow;
    joined.allow.network.extend(network.iter().cloned());
    joined.allow.signal.extend(signal.iter().cloned());
    joined.allow.ptrace.extend(ptrace.iter().cloned());
    joined.allow.mount.extend(mount.iter().cloned());
    joined.allow.unix.extend(unix.iter().cloned());
    joined.allow.dbus.extend(dbus.iter().cloned());
}

/// A denial stays if each profile has it or allows nothing of what it denies.
fn denials(canons: &[Canon], joined: &mut Canon, notes: &mut BTreeSet<Note>) {
    let sides: Vec<(&Canon, Index)> = canons.iter().map(|canon| (canon, canon.index())).collect();
    let mut keep = |of: fn(&Canon) -> &BTreeSet<String>, denied: Access| {
        let all: BTreeSet<&String> = canons.iter().flat_map(of).collect();
        let (kept, opened): (Vec<&String>, Vec<_>) = all.into_iter().partition(|path| {
            let Some(glob) = glob(path) else {
                return true;
            };
            sides.iter().all(|(canon, index)| {
                of(canon).contains(*path) || index.overlapping(&glob).and(denied).is_none()
            })
        });
        notes.extend(
            opened
                .into_iter()
                .map(|path| Note::Opened { path: path.clone() }),
        );
        kept.into_iter().cloned().collect::<BTreeSet<_>>()
    };
    joined.kept_unchanged = keep(|canon| &canon.kept_unchanged, Access::CHANGE);
    joined.kept_unread = keep(|canon| &canon.kept_unread, Access::READ);
    let mut all: BTreeMap<&String, Access> = BTreeMap::new();
    for (path, access) in canons.iter().flat_map(|canon| &canon.denies) {
        let known = all.entry(path).or_default();
        *known = known.or(*access);
    }
    joined.denies.clear();
    for (path, denied) in all {
        let mut left = denied;
        if let Some(glob) = glob(path) {
            for (canon, index) in &sides {
                let has = canon.denies.get(path).copied().unwrap_or_default();
                left = left.sparing(index.overlapping(&glob).without(has));
            }
        }
        if !left.is_none() {
            joined.denies.insert(path.clone(), left);
        }
        if left != denied {
            let rule = super::rules::FileRule {
                path: path.clone(),
                access: denied.without(left),
                owner: false,
            };
            notes.insert(Note::DenyDropped {
                rule: rule.text(true),
            });
        }
    }
    let all: BTreeSet<Word> = canons
        .iter()
        .flat_map(|canon| &canon.deny.capability)
        .copied()
        .collect();
    joined.deny.capability = all
        .into_iter()
        .filter(|word| {
            let kept = canons.iter().all(|canon| {
                canon.deny.capability.contains(word) || !canon.capabilities.contains(word)
            });
            if !kept {
                let rule = format!("capability {word}");
                notes.insert(Note::DenyDropped { rule });
            }
            kept
        })
        .collect();
    others(canons, &mut joined.deny, notes);
}

/// Rules of other families stay if all profiles have them: whether another one allows what they
/// deny depends on includes, too.
fn others(canons: &[Canon], deny: &mut RuleSet, notes: &mut BTreeSet<Note>) {
    let before: BTreeSet<String> = canons
        .iter()
        .flat_map(|canon| canon.deny.texts(true))
        .collect();
    for canon in canons {
        let RuleSet {
            file: _,
            capability: _,
            network,
            signal,
            ptrace,
            mount,
            unix,
            dbus,
        } = &canon.deny;
        deny.network.retain(|rule| network.contains(rule));
        deny.signal.retain(|rule| signal.contains(rule));
        deny.ptrace.retain(|rule| ptrace.contains(rule));
        deny.mount.retain(|rule| mount.contains(rule));
        deny.unix.retain(|rule| unix.contains(rule));
        deny.dbus.retain(|rule| dbus.contains(rule));
    }
    let after: BTreeSet<String> = deny.texts(true).into_iter().collect();
    notes.extend(
        before
            .difference(&after)
            .filter(|rule| !rule.starts_with("capability "))
            .map(|rule| Note::DenyDropped { rule: rule.clone() }),
    );
}

/// Notes the paths that no profile had as a rule.
fn became_rules(specs: &[&AppArmorSpec], merged: &AppArmorSpec, notes: &mut BTreeSet<Note>) {
    let known: BTreeSet<&String> = specs
        .iter()
        .flat_map(|spec| &spec.abstract_.rules.allow.file)
        .map(|rule| &rule.path)
        .collect();
    for rule in &merged.abstract_.rules.allow.file {
        if !known.contains(&rule.path) {
            notes.insert(Note::BecameRule {
                path: rule.path.clone(),
            });
        }
    }
}
