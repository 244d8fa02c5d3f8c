//! Random profiles and calls.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use spo::profile::seccomp::{Action, Arguments, Operator, SeccompSpec, SyscallArg, SyscallRule};

/// Few names, so that profiles meet.
pub(super) const NAMES: [&str; 4] = ["lseek", "socket", "clone", "ioctl"];
/// Values at which 64-bit comparisons in two halves could go wrong.
const VALUES: [u64; 10] = [
    0,
    1,
    2,
    5,
    6,
    0xffff_ffff,
    1 << 32,
    (1 << 32) + 5,
    1 << 33,
    u64::MAX,
];
const MASKS: [u64; 5] = [1, 3, 6, 1 << 32, (1 << 32) | 1];

fn action() -> impl Strategy<Value = (Action, Option<u32>)> {
    prop_oneof![
        3 => Just((Action::Allow, None)),
        2 => Just((Action::Log, None)),
        2 => select(vec![None, Some(1), Some(38), Some(13)]).prop_map(|number| (Action::Errno, number)),
        1 => select(vec![None, Some(7)]).prop_map(|number| (Action::Trace, number)),
        1 => select(vec![Action::Trap, Action::Kill, Action::KillThread, Action::KillProcess])
            .prop_map(|action| (action, None)),
    ]
}

fn condition(index: u32) -> impl Strategy<Value = SyscallArg> {
    let operator = select(vec![
        Operator::Equal,
        Operator::Equal,
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
        Operator::MaskedEqual,
    ]);
    (operator, select(&VALUES[..]), select(&MASKS[..])).prop_map(move |(op, value, mask)| {
        let (value, value_two) = match op {
            Operator::MaskedEqual => (mask, value),
            _ => (value, 0),
        };
        SyscallArg {
            index,
            value,
            value_two,
            op,
        }
    })
}

fn conditions() -> impl Strategy<Value = Vec<SyscallArg>> {
    prop_oneof![
        3 => Just(Vec::new()),
        5 => (0..2_u32).prop_flat_map(condition).prop_map(|arg| vec![arg]),
        2 => (condition(0), condition(1)).prop_map(|(first, second)| vec![first, second]),
        1 => (condition(0), condition(0)).prop_map(|(first, second)| vec![first, second]),
    ]
}

fn rule() -> impl Strategy<Value = SyscallRule> {
    let names = proptest::sample::subsequence(NAMES.to_vec(), 1..3);
    (names, action(), conditions()).prop_map(|(names, (action, errno_ret), args)| SyscallRule {
        names: names.into_iter().map(str::to_owned).collect(),
        action,
        errno_ret,
        args,
    })
}

/// Any profile, also such that libseccomp does not take as it is meant.
pub(super) fn profile() -> impl Strategy<Value = SeccompSpec> {
    (action(), vec(rule(), 0..6)).prop_map(|((action, errno), syscalls)| {
        let mut spec = SeccompSpec::new(action);
        spec.default_errno_ret = errno;
        spec.syscalls = syscalls;
        spec
    })
}

/// Profiles with one rule for each call, which libseccomp takes as they are.
pub(super) fn single() -> impl Strategy<Value = SeccompSpec> {
    let conditions = prop_oneof![
        1 => Just(Vec::new()),
        3 => (0..2_u32).prop_flat_map(condition).prop_map(|arg| vec![arg]),
        2 => (condition(0), condition(1)).prop_map(|(first, second)| vec![first, second]),
    ];
    let rules = vec((action(), conditions), NAMES.len());
    (action(), rules).prop_map(|((action, errno), rules)| {
        let mut spec = SeccompSpec::new(action);
        spec.default_errno_ret = errno;
        let rule = |(name, ((action, errno_ret), args)): (&str, (_, _))| SyscallRule {
            names: vec![name.to_owned()],
            action,
            errno_ret,
            args,
        };
        spec.syscalls = NAMES.into_iter().zip(rules).map(rule).collect();
        spec
    })
}

/// Calls with arguments at the borders of conditions.
pub(super) fn calls() -> impl Strategy<Value = Vec<(&'static str, Arguments)>> {
    let near = (select(&VALUES[..]), -1..=1_i64)
        .prop_map(|(value, offset)| value.wrapping_add_signed(offset));
    let value = prop_oneof![4 => near, 1 => any::<u64>()];
    let name = select(vec![NAMES[0], NAMES[1], NAMES[2], NAMES[3], "read"]);
    let call = (name, value.clone(), value)
        .prop_map(|(name, first, second)| (name, [first, second, 0, 0, 0, 0]));
    vec(call, 30)
}
