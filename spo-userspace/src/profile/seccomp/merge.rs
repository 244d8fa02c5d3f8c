//! Several profiles in one: what any of them allows is allowed, and nothing more.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::express::{Expressed, express};
use super::verdict::{Arguments, Call, Calls, Verdict};
use super::{Architecture, Flag, Operator, SeccompSpec, SyscallArg, SyscallRule};
use crate::profile::diagnostic::quoted;
use crate::profile::state::State;

/// What a merge gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The profile in its canonical form: sorted, and without rules that change nothing.
    pub spec: SeccompSpec,
    /// What was widened or decided on the way.
    pub notes: Vec<Note>,
}

/// Something that a person should know about a result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// The call that it is about; none for the whole profile.
    pub syscall: Option<String>,
    /// Whether the result allows something that no input does.
    pub widens: bool,
    /// What it is.
    pub message: String,
}

/// Why profiles cannot be merged.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MergeError {
    /// There is none.
    #[error("there is no profile to merge")]
    Nothing,
    /// A profile has one base.
    #[error("two base profiles, {first} and {second}; resolve them first, or merge them into one")]
    BaseProfiles {
        /// One name, quoted.
        first: String,
        /// The other.
        second: String,
    },
    /// A profile has one listener.
    #[error("the profiles have different values of `{field}`, {first} and {second}")]
    Listener {
        /// The field.
        field: &'static str,
        /// One value, quoted.
        first: String,
        /// The other.
        second: String,
    },
}

/// Merges profiles. The result does not depend on their order.
///
/// `docs/merging.md` says what becomes of each part of a profile.
pub fn merge(specs: &[&SeccompSpec]) -> Result<Merged, MergeError> {
    let Some(default) = specs.iter().map(|spec| Verdict::of_default(spec)).max() else {
        return Err(MergeError::Nothing);
    };
    let mut notes = Vec::new();
    let defaults = specs.iter().map(|spec| Verdict::of_default(spec));
    note_numbers(
        None,
        defaults.filter(|it| it.rank() == default.rank()),
        default,
        &mut notes,
    );
    let all: Vec<_> = specs.iter().map(|spec| Calls::of(spec)).collect();
    let names: BTreeSet<_> = all.iter().flat_map(Calls::names).collect();
    let mut rules = Rules::new(default);
    for name in names {
        if all.iter().any(|calls| calls.shadowed.contains(name)) {
            notes.push(Note::of(
                name,
                "rules that never count beside its unconditional rule are left out",
            ));
        }
        let mut calls: Vec<Call> = Vec::new();
        for call in all.iter().map(|calls| calls.get(name)) {
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
        rules.add(name, &calls, &mut notes);
    }
    let mut spec = SeccompSpec {
        state: enabled_if_any(specs),
        base_profile_name: one(specs, |spec| spec.base_profile_name.as_ref())
            .map_err(|(first, second)| MergeError::BaseProfiles { first, second })?,
        default_errno_ret: default.errno_ret(),
        architectures: architectures(specs, &mut notes),
        listener_path: one(specs, |spec| spec.listener_path.as_ref())
            .map_err(|values| listener("listenerPath", values))?,
        listener_metadata: one(specs, |spec| spec.listener_metadata.as_ref())
            .map_err(|values| listener("listenerMetadata", values))?,
        flags: flags(specs, &mut notes),
        ..SeccompSpec::new(default.action)
    };
    spec.syscalls = rules.finish();
    notes.sort();
    notes.dedup();
    Ok(Merged { spec, notes })
}

impl Note {
    pub(super) fn of(syscall: &str, message: &str) -> Self {
        Self {
            syscall: Some(syscall.to_owned()),
            widens: false,
            message: message.to_owned(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(syscall) = &self.syscall {
            write!(formatter, "{}: ", quoted(syscall).trim_matches('`'))?;
        }
        formatter.write_str(&self.message)
    }
}

/// The rules of a profile in the making, in canonical form.
pub(super) struct Rules {
    default: Verdict,
    rules: BTreeMap<RuleKey, BTreeSet<String>>,
}

/// Rules are sorted by their conditions, those without first, and then from the least restrictive.
type RuleKey = (Vec<(u32, Operator, u64, u64)>, std::cmp::Reverse<Verdict>);

impl Rules {
    pub(super) fn new(default: Verdict) -> Self {
        Self {
            default,
            rules: BTreeMap::new(),
        }
    }

    /// Adds a call that gets the least restrictive verdict of several. Where none of them has one,
    /// the default action counts.
    pub(super) fn add(&mut self, name: &str, calls: &[Call], notes: &mut Vec<Note>) {
        let most = calls.iter().filter_map(Call::most).max();
        let most = most.unwrap_or(self.default);
        // Of all verdicts for the same arguments, the greatest; `max` alone would not tell which
        // lost.
        let numbers = Cell::new(None);
        let overlap = Cell::new(false);
        let value = |args: &Arguments| {
            let all = calls.iter().filter_map(|call| call.verdict(args));
            let value = all.clone().max().unwrap_or(self.default);
            let same_rank = |it: &Verdict| it.rank() == value.rank() && *it != value;
            if let Some(lost) = all.clone().find(same_rank) {
                numbers.set(Some((value, lost)));
            }
            for call in calls {
                let mut matching = call.matching(args);
                if let Some(first) = matching.next() {
                    overlap.set(overlap.get() || matching.any(|it| it != first));
                }
            }
            value
        };
        let conditions: Vec<_> = calls.iter().flat_map(Call::conditions).collect();
        let expressed = express(&conditions, &value, most, self.default);
        if let Some((kept, lost)) = numbers.get() {
            note_numbers(Some(name), [kept, lost].into_iter(), kept, notes);
        }
        if overlap.get() {
            notes.push(Note::of(
                name,
                "rules with different actions are for the same arguments: the less restrictive \
                 counts",
            ));
        }
        self.put(name, expressed, notes);
    }

    /// Adds a call that is a function of its arguments.
    pub(super) fn put(&mut self, name: &str, expressed: Expressed, notes: &mut Vec<Note>) {
        let Expressed { rules, ignored } = expressed;
        if !ignored.is_empty() {
            let list: Vec<_> = ignored.iter().map(u32::to_string).collect();
            notes.push(Note {
                syscall: Some(name.to_owned()),
                widens: true,
                message: format!(
                    "the conditions on argument {} cannot be told together in one profile: they \
                     are left out, and the least restrictive action counts",
                    list.join(", ")
                ),
            });
        }
        for (args, verdict) in rules {
            let key = |arg: SyscallArg| {
                let SyscallArg {
                    index,
                    value,
                    value_two,
                    op,
                } = arg;
                (index, op, value, value_two)
            };
            let args = args.into_iter().map(key).collect();
            let names = self.rules.entry((args, std::cmp::Reverse(verdict)));
            names.or_default().insert(name.to_owned());
        }
    }

    pub(super) fn finish(self) -> Vec<SyscallRule> {
        let rules = self.rules.into_iter();
        rules
            .map(|((args, std::cmp::Reverse(verdict)), names)| SyscallRule {
                names: names.into_iter().collect(),
                action: verdict.action,
                errno_ret: verdict.errno_ret(),
                args: args
                    .into_iter()
                    .map(|(index, op, value, value_two)| SyscallArg {
                        index,
                        value,
                        value_two,
                        op,
                    })
                    .collect(),
            })
            .collect()
    }
}

/// Tells which of several numbers was taken.
fn note_numbers(
    syscall: Option<&str>,
    verdicts: impl Iterator<Item = Verdict>,
    kept: Verdict,
    notes: &mut Vec<Note>,
) {
    let lost: BTreeSet<_> = verdicts.filter(|it| *it != kept).collect();
    if lost.is_empty() {
        return;
    }
    let lost: Vec<_> = lost
        .iter()
        .filter_map(|it| it.errno)
        .map(|it| it.to_string())
        .collect();
    notes.push(Note {
        syscall: syscall.map(str::to_owned),
        widens: false,
        message: format!(
            "{} comes with different numbers: {} is kept, not {}",
            kept.action,
            kept.errno.unwrap_or_default(),
            lost.join(", ")
        ),
    });
}

fn enabled_if_any(specs: &[&SeccompSpec]) -> State {
    let enabled = specs.iter().any(|spec| spec.state == State::Enabled);
    if enabled {
        State::Enabled
    } else {
        State::Disabled
    }
}

/// The one value that a field has in all profiles that have it, or two of several.
fn one(
    specs: &[&SeccompSpec],
    field: impl Fn(&SeccompSpec) -> Option<&String>,
) -> Result<Option<String>, (String, String)> {
    let values: BTreeSet<_> = specs.iter().filter_map(|spec| field(spec)).collect();
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some(first), Some(second)) => Err((quoted(first), quoted(second))),
        (value, _) => Ok(value.cloned()),
    }
}

fn listener(field: &'static str, (first, second): (String, String)) -> MergeError {
    MergeError::Listener {
        field,
        first,
        second,
    }
}

/// The architectures that a profile's rules are for. Runtimes add the machine's own to every list.
pub(super) fn architecture_set(spec: &SeccompSpec) -> BTreeSet<Architecture> {
    let listed = spec.architectures.iter().copied();
    let mut set: BTreeSet<_> = listed.collect();
    if set.is_empty() {
        set.insert(Architecture::Native);
    }
    set
}

fn architectures(specs: &[&SeccompSpec], notes: &mut Vec<Note>) -> Vec<Architecture> {
    let sets: BTreeSet<_> = specs.iter().map(|spec| architecture_set(spec)).collect();
    if sets.len() > 1 {
        notes.push(Note {
            syscall: None,
            widens: true,
            message: "the profiles list different architectures: all rules now count for all of \
                      them"
                .to_owned(),
        });
    }
    let all: BTreeSet<_> = sets.into_iter().flatten().collect();
    if all.iter().eq([&Architecture::Native]) {
        return Vec::new();
    }
    all.into_iter().collect()
}

fn flags(specs: &[&SeccompSpec], notes: &mut Vec<Note>) -> Vec<Flag> {
    let sets: BTreeSet<BTreeSet<_>> = specs
        .iter()
        .map(|spec| spec.flags.iter().copied().collect())
        .collect();
    if sets.len() > 1 {
        notes.push(Note {
            syscall: None,
            widens: false,
            message: "the profiles have different flags: all of them are kept".to_owned(),
        });
    }
    let all: BTreeSet<_> = sets.into_iter().flatten().collect();
    all.into_iter().collect()
}
