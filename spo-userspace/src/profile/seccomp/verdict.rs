//! What a profile does to a call: the rules as one function from arguments to an action.
//!
//! The model is what container runtimes and libseccomp make of a profile, see `node::filter`:
//!
//! - A rule that says what the default action says is not made.
//! - A rule without conditions wins over all others for its call, and of several such the first.
//! - All conditions of a rule must hold. Where a rule has two on one argument, each of its
//!   conditions is a rule of its own, so that any of them is enough.
//! - Of several rules whose conditions hold, the least restrictive counts. Here libseccomp's own
//!   answer depends on how it sorts the conditions, so that profiles should not have such rules.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::Serialize;

use super::{Action, Operator, SeccompSpec, SyscallArg, SyscallRule};

/// The arguments of a call.
pub type Arguments = [u64; 6];

/// What runtimes let a call fail with when a profile says nothing (`EPERM`).
const DEFAULT_ERRNO: u32 = 1;
/// `ENOSYS`, in the numbering that nearly all architectures share.
pub(super) const ENOSYS: u32 = 38;

/// What happens to a call. The greater of two is the less restrictive one, by the order in which
/// the kernel prefers one filter's answer to another's.
///
/// Error numbers have no such order. `ENOSYS` counts as the least restrictive, as programs then
/// try another way; of others the smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Verdict {
    /// What happens; [`Action::Kill`] also for its newer name.
    pub action: Action,
    /// The number that goes with [`Action::Errno`] and [`Action::Trace`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
}

/// What a profile does to a call of an architecture that its rules are for. The base profile is
/// not taken in.
pub fn verdict(spec: &SeccompSpec, syscall: &str, args: &Arguments) -> Verdict {
    let calls = Calls::of(spec);
    calls.get(syscall).verdict(args).unwrap_or(calls.default)
}

impl Verdict {
    /// The verdict of a rule or a default action.
    pub fn new(action: Action, errno_ret: Option<u32>) -> Self {
        let action = match action {
            Action::KillThread => Action::Kill,
            action => action,
        };
        let has_number = matches!(action, Action::Errno | Action::Trace);
        Self {
            action,
            errno: has_number.then(|| errno_ret.unwrap_or(DEFAULT_ERRNO)),
        }
    }

    pub(super) fn of_default(spec: &SeccompSpec) -> Self {
        Self::new(spec.default_action, spec.default_errno_ret)
    }

    /// The number as a profile writes it; what runtimes take anyway is left out.
    pub(super) fn errno_ret(self) -> Option<u32> {
        self.errno.filter(|number| *number != DEFAULT_ERRNO)
    }

    /// Whether the call is refused, without asking anybody.
    pub fn is_denial(self) -> bool {
        self.rank() <= rank(Action::Errno)
    }

    /// The place of the action in the kernel's order, error numbers aside.
    pub(super) fn rank(self) -> usize {
        rank(self.action)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.action)?;
        match self.errno {
            Some(ENOSYS) => formatter.write_str(" (ENOSYS)"),
            Some(number) if number != DEFAULT_ERRNO => write!(formatter, " ({number})"),
            _ => Ok(()),
        }
    }
}

impl Ord for Verdict {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |verdict: &Self| {
            (
                verdict.rank(),
                verdict.errno == Some(ENOSYS),
                Reverse(verdict.errno),
            )
        };
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Verdict {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of `include/uapi/linux/seccomp.h`, from the most restrictive.
fn rank(action: Action) -> usize {
    match action {
        Action::KillProcess => 0,
        Action::Kill | Action::KillThread => 1,
        Action::Trap => 2,
        Action::Errno => 3,
        Action::Notify => 4,
        Action::Trace => 5,
        Action::Log => 6,
        Action::Allow => 7,
    }
}

/// All calls of a profile.
pub(super) struct Calls<'a> {
    pub(super) default: Verdict,
    named: HashMap<&'a str, Call>,
    /// Calls with rules that never count.
    pub(super) shadowed: BTreeSet<&'a str>,
}

/// What happens to one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// The verdict where no branch's conditions hold; none if that is for others to say.
    pub(super) otherwise: Option<Verdict>,
    pub(super) branches: Vec<Branch>,
}

/// A verdict for arguments that meet all conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) conditions: Vec<SyscallArg>,
    pub(super) verdict: Verdict,
}

impl<'a> Calls<'a> {
    /// The calls of a whole profile.
    pub(super) fn of(spec: &'a SeccompSpec) -> Self {
        let default = Verdict::of_default(spec);
        Self::of_rules(&spec.syscalls, default, |verdict| verdict != default)
    }

    /// The calls that the rules alone are for: they say nothing about arguments that they do not
    /// name.
    pub(super) fn of_addition(spec: &'a SeccompSpec) -> Self {
        let mut calls = Self::of_rules(&spec.syscalls, Verdict::of_default(spec), |_| true);
        for call in calls.named.values_mut() {
            if !call.branches.is_empty() {
                call.otherwise = None;
            }
        }
        calls
    }

    fn of_rules(
        rules: &'a [SyscallRule],
        default: Verdict,
        counts: impl Fn(Verdict) -> bool,
    ) -> Self {
        let mut named: HashMap<&str, (Option<Verdict>, Vec<Branch>)> = HashMap::new();
        let mut shadowed = BTreeSet::new();
        for rule in rules {
            let verdict = Verdict::new(rule.action, rule.errno_ret);
            if !counts(verdict) {
                continue;
            }
            for name in &rule.names {
                let (always, branches) = named.entry(name).or_default();
                if rule.args.is_empty() {
                    if always.is_some_and(|always| always != verdict) {
                        shadowed.insert(name.as_str());
                    }
                    always.get_or_insert(verdict);
                }
                let sets = alternatives(&rule.args).into_iter();
                branches.extend(sets.map(|conditions| Branch {
                    conditions,
                    verdict,
                }));
            }
        }
        let named = named.into_iter().map(|(name, (always, mut branches))| {
            if always.is_some() {
                if branches.iter().any(|branch| Some(branch.verdict) != always) {
                    shadowed.insert(name);
                }
                branches.clear();
            }
            let otherwise = Some(always.unwrap_or(default));
            (
                name,
                Call {
                    otherwise,
                    branches,
                },
            )
        });
        let named = named.collect();
        Self {
            default,
            named,
            shadowed,
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.named.keys().copied()
    }

    pub(super) fn named(&self, name: &str) -> Option<&Call> {
        self.named.get(name)
    }

    /// What happens to a call, named or not.
    pub(super) fn get(&self, name: &str) -> Call {
        self.named(name)
            .cloned()
            .unwrap_or_else(|| Call::always(self.default))
    }
}

impl Call {
    pub(super) fn always(verdict: Verdict) -> Self {
        Self {
            otherwise: Some(verdict),
            branches: Vec::new(),
        }
    }

    pub(super) fn verdict(&self, args: &Arguments) -> Option<Verdict> {
        self.matching(args).max().or(self.otherwise)
    }

    /// The verdicts of all branches whose conditions hold.
    pub(super) fn matching(&self, args: &Arguments) -> impl Iterator<Item = Verdict> {
        let holds = |branch: &&Branch| branch.conditions.iter().all(|arg| holds(arg, args));
        self.branches
            .iter()
            .filter(holds)
            .map(|branch| branch.verdict)
    }

    pub(super) fn has_conditions(&self) -> bool {
        !self.branches.is_empty()
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = SyscallArg> {
        self.branches
            .iter()
            .flat_map(|branch| branch.conditions.iter().copied())
    }

    /// The least restrictive of the denials that the call can get.
    pub(super) fn denial(&self) -> Option<Verdict> {
        let branches = self.branches.iter().map(|branch| branch.verdict);
        let all = branches.chain(self.otherwise);
        all.filter(|verdict| verdict.is_denial()).max()
    }

    /// The least restrictive verdict that the call can get at all.
    pub(super) fn most(&self) -> Option<Verdict> {
        let branches = self.branches.iter().map(|branch| branch.verdict);
        branches.chain(self.otherwise).max()
    }
}

/// The sets of conditions that a rule stands for: any of them is enough. None for a rule without
/// conditions.
fn alternatives(args: &[SyscallArg]) -> Vec<Vec<SyscallArg>> {
    let indices: BTreeSet<_> = args.iter().map(|arg| arg.index).collect();
    if indices.len() < args.len() {
        return args.iter().map(|arg| vec![*arg]).collect();
    }
    if args.is_empty() {
        Vec::new()
    } else {
        vec![args.to_vec()]
    }
}

fn holds(condition: &SyscallArg, args: &Arguments) -> bool {
    let SyscallArg {
        index,
        value,
        value_two,
        op,
    } = *condition;
    let Some(argument) = args.get(index as usize).copied() else {
        return false;
    };
    match op {
        Operator::NotEqual => argument != value,
        Operator::Less => argument < value,
        Operator::LessOrEqual => argument <= value,
        Operator::Equal => argument == value,
        Operator::GreaterOrEqual => argument >= value,
        Operator::Greater => argument > value,
        // libseccomp drops the bits of the second value that are not in the mask.
        Operator::MaskedEqual => argument & value == value_two & value,
    }
}
