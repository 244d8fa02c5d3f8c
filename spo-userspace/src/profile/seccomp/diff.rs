//! What one profile allows that another does not.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::cells::{Cell, Domain, Tree};
use super::merge::architecture_set;
use super::verdict::{Arguments, Calls, Verdict};
use super::{Architecture, Flag, SeccompSpec};
use crate::profile::diagnostic::quoted;
use crate::profile::risk;

/// The differences between a first profile, A, and a second, B.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What happens to calls that neither of them names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Change>,
    /// Calls with a rule in either of them, by name.
    pub calls: Vec<CallDifference>,
    /// The architectures that their rules are for.
    pub architectures: Sides<Architecture>,
    /// How the filter is loaded.
    pub flags: Sides<Flag>,
    /// Other fields that differ.
    pub fields: Vec<FieldDifference>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// Its name in an object.
    pub field: &'static str,
    /// What A has; none if it has no such field.
    pub a: Option<String>,
    /// What B has.
    pub b: Option<String>,
}

/// What only one of them has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sides<T> {
    /// What only A has.
    pub only_a: Vec<T>,
    /// What only B has.
    pub only_b: Vec<T>,
}

/// A call that they treat differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallDifference {
    /// The call.
    pub syscall: String,
    /// Why it is risky to allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<&'static str>,
    /// What differs, and for which arguments.
    pub changes: Vec<Change>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The conditions on the arguments, in words; none if they do not matter.
    pub when: Vec<String>,
    /// What A does.
    pub a: Verdict,
    /// What B does.
    pub b: Verdict,
    /// Whether B is less restrictive.
    pub widens: bool,
}

/// Compares two profiles. Their states and base profiles are fields like others here: a base is
/// not taken in.
pub fn diff(a: &SeccompSpec, b: &SeccompSpec) -> Difference {
    let (a_calls, b_calls) = (Calls::of(a), Calls::of(b));
    let names: BTreeSet<_> = a_calls.names().chain(b_calls.names()).collect();
    let calls = names.into_iter().filter_map(|name| {
        let changes = changes(&a_calls, &b_calls, name);
        (!changes.is_empty()).then(|| CallDifference {
            syscall: name.to_owned(),
            risk: risk::reason(name),
            changes,
        })
    });
    let calls = calls.collect();
    let state = |spec: &SeccompSpec| Some(spec.state.to_string());
    let mut fields = Vec::new();
    for (field, a, b) in [
        ("state", state(a), state(b)),
        (
            "baseProfileName",
            a.base_profile_name.clone(),
            b.base_profile_name.clone(),
        ),
        (
            "listenerPath",
            a.listener_path.clone(),
            b.listener_path.clone(),
        ),
        (
            "listenerMetadata",
            a.listener_metadata.clone(),
            b.listener_metadata.clone(),
        ),
    ] {
        if a != b {
            fields.push(FieldDifference { field, a, b });
        }
    }
    Difference {
        default: Change::between(Vec::new(), a_calls.default, b_calls.default),
        calls,
        architectures: Sides::of(&architecture_set(a), &architecture_set(b)),
        flags: Sides::of(
            &a.flags.iter().copied().collect(),
            &b.flags.iter().copied().collect(),
        ),
        fields,
    }
}

impl Difference {
    /// Whether there is no difference.
    pub fn is_same(&self) -> bool {
        let Self {
            default,
            calls,
            architectures,
            flags,
            fields,
        } = self;
        default.is_none()
            && calls.is_empty()
            && architectures.is_empty()
            && flags.is_empty()
            && fields.is_empty()
    }

    /// Whether B lets through anything that A does not, or with less notice. Speculative execution
    /// counts, another base profile, and being switched off.
    pub fn widens(&self) -> bool {
        let calls = self.calls.iter().flat_map(|call| &call.changes);
        calls.chain(&self.default).any(|change| change.widens)
            || !self.architectures.only_b.is_empty()
            || self.flags.only_b.contains(&Flag::SpecAllow)
            || self
                .fields
                .iter()
                .any(|one| ["state", "baseProfileName"].contains(&one.field))
    }
}

impl fmt::Display for FieldDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, a, b } = self;
        let [a, b] = [a, b].map(|value| match value {
            Some(value) => quoted(value),
            None => "nothing".to_owned(),
        });
        write!(formatter, "{field}: {a} -> {b}")
    }
}

impl Change {
    fn between(when: Vec<String>, a: Verdict, b: Verdict) -> Option<Self> {
        (a != b).then(|| Self {
            when,
            a,
            b,
            widens: b.rank() > a.rank(),
        })
    }
}

impl<T: Copy + Ord> Sides<T> {
    fn of(a: &BTreeSet<T>, b: &BTreeSet<T>) -> Self {
        Self {
            only_a: a.difference(b).copied().collect(),
            only_b: b.difference(a).copied().collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.only_a.is_empty() && self.only_b.is_empty()
    }
}

fn changes(a: &Calls<'_>, b: &Calls<'_>, name: &str) -> Vec<Change> {
    let (a_call, b_call) = (a.get(name), b.get(name));
    if a_call == b_call {
        return Vec::new();
    }
    let conditions: Vec<_> = a_call.conditions().chain(b_call.conditions()).collect();
    let mut changes = Vec::new();
    if let Ok(domain) = Domain::of(&conditions) {
        let both = |args: &Arguments| {
            (
                a_call.verdict(args).unwrap_or(a.default),
                b_call.verdict(args).unwrap_or(b.default),
            )
        };
        collect(
            &domain.tree(&BTreeSet::new(), &both),
            &mut Vec::new(),
            &mut changes,
        );
    } else {
        changes.push(Change {
            when: vec!["some arguments (the conditions are too many to compare)".to_owned()],
            a: a_call.most().unwrap_or(a.default),
            b: b_call.most().unwrap_or(b.default),
            widens: true,
        });
    }
    changes
}

fn collect(tree: &Tree<(Verdict, Verdict)>, path: &mut Vec<String>, changes: &mut Vec<Change>) {
    match tree {
        Tree::Leaf((a, b)) => changes.extend(Change::between(path.clone(), *a, *b)),
        Tree::Split { arg, cells } => {
            for (cell, tree) in cells {
                path.push(words(*arg, cell));
                collect(tree, path, changes);
                path.pop();
            }
        }
    }
}

fn words(arg: u32, cell: &Cell) -> String {
    let range = |first: u64, last: u64| match (first, last) {
        (first, last) if first == last => format!("is {}", number(first)),
        (0, last) => format!("is at most {}", number(last)),
        (first, u64::MAX) => format!("is at least {}", number(first)),
        (first, last) => format!("is from {} to {}", number(first), number(last)),
    };
    let joined = |all: &[u64]| {
        let all: Vec<_> = all.iter().map(|one| format!("{one:#x}")).collect();
        all.join(", ")
    };
    match cell {
        Cell::Range(first, last) => format!("argument {arg} {}", range(*first, *last)),
        Cell::Bits { mask, bits } => format!("argument {arg} & {mask:#x} is {bits:#x}"),
        Cell::OtherBits { mask, than } => {
            format!("argument {arg} & {mask:#x} is not {}", joined(than))
        }
        Cell::RangeOfBits {
            range: (first, last),
            mask,
            bits,
        } => format!(
            "argument {arg} {} and & {mask:#x} is {bits:#x}",
            range(*first, *last)
        ),
    }
}

/// Large numbers are flags or addresses.
fn number(value: u64) -> String {
    if value < 1 << 16 {
        value.to_string()
    } else {
        format!("{value:#x}")
    }
}

/// In words, one difference a line; what widens first.
impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_same() {
            return writeln!(formatter, "no difference");
        }
        let all = || {
            let named = self.calls.iter().flat_map(|call| {
                let CallDifference {
                    syscall,
                    risk,
                    changes,
                } = call;
                let name = quoted(syscall);
                changes
                    .iter()
                    .map(move |change| (name.trim_matches('`').to_owned(), *risk, change))
            });
            let default = self.default.iter();
            named.chain(default.map(|change| ("all other calls".to_owned(), None, change)))
        };
        let mut section = |title: &str, lines: Vec<String>| {
            if lines.is_empty() {
                return Ok(());
            }
            writeln!(formatter, "{title}:")?;
            lines
                .iter()
                .try_for_each(|line| writeln!(formatter, "  {line}"))
        };
        let lines = |wanted: bool| {
            let of = all().filter(|(.., change)| change.widens == wanted);
            of.map(|(name, risk, change)| line(&name, risk, change))
                .collect()
        };
        section("B is less restrictive", lines(true))?;
        section("B is more restrictive, or fails differently", lines(false))?;
        let Sides { only_a, only_b } = &self.architectures;
        section("architectures only in A", texts(only_a))?;
        section("architectures only in B", texts(only_b))?;
        let Sides { only_a, only_b } = &self.flags;
        section("flags only in A", texts(only_a))?;
        section("flags only in B", texts(only_b))?;
        section("other fields that differ", texts(&self.fields))
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn line(name: &str, risk: Option<&str>, change: &Change) -> String {
    let Change { when, a, b, .. } = change;
    let mut line = format!("{name}: {a} -> {b}");
    if !when.is_empty() {
        line.push_str(" when ");
        line.push_str(&when.join(" and "));
    }
    if let Some(risk) = risk {
        line.push_str("; risk: ");
        line.push_str(risk);
    }
    line
}
