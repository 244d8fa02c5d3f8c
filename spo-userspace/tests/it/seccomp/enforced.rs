//! Filters that are in force, held against profiles. libseccomp makes the filters, as it does for runtimes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::subsequence;
use spo::event::{Instruction, KernelFilter};
use spo::profile::arch::Arch;
use spo::profile::seccomp::{
    Action, Architecture, Comparison, Flag, InForce, Operator, SeccompSpec, SyscallArg,
    SyscallRule, compare, diff, merge,
};
use spo::profile::syscalls;

use super::oracle::{in_force, native};
use super::random::{profile, single};

fn compared(spec: &SeccompSpec, filters: &[KernelFilter]) -> Comparison {
    compare(spec, &InForce::new(filters).unwrap(), native())
}

/// What is told of a profile beside libseccomp's filter of another.
fn told(spec: &SeccompSpec, other: &SeccompSpec) -> Vec<String> {
    let comparison = compared(spec, &[in_force(other).unwrap()]);
    assert!(comparison.opaque.is_empty(), "{comparison:?}");
    let told = comparison.differences.iter();
    told.map(ToString::to_string).collect()
}

fn rule(action: Action, names: &[&str], args: &[SyscallArg]) -> SyscallRule {
    SyscallRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action,
        errno_ret: None,
        args: args.to_vec(),
    }
}

fn spec(default: Action, rules: Vec<SyscallRule>) -> SeccompSpec {
    let mut spec = SeccompSpec::new(default);
    spec.syscalls = rules;
    spec
}

fn all_of_x86(mut spec: SeccompSpec) -> SeccompSpec {
    spec.architectures = vec![Architecture::X86_64, Architecture::X86, Architecture::X32];
    spec
}

fn condition(index: u32, op: Operator, value: u64) -> SyscallArg {
    SyscallArg {
        index,
        value,
        value_two: 0,
        op,
    }
}

/// Some architectures of x86; on other machines none.
fn architectures() -> impl Strategy<Value = Vec<Architecture>> {
    let all = if native() == Arch::X86_64 {
        vec![Architecture::X86_64, Architecture::X86, Architecture::X32]
    } else {
        vec![Architecture::Native]
    };
    let most = all.len();
    subsequence(all, 0..=most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_profile_is_what_libseccomp_makes_of_it(mut spec in single(), architectures in architectures()) {
        spec.architectures = architectures;
        let comparison = compared(&spec, &[in_force(&spec).unwrap()]);
        prop_assert_eq!(comparison, Comparison::default());
    }

    #[test]
    fn no_difference_is_the_same_filter(a in profile(), b in profile()) {
        let [a, b] = [a, b].map(|spec| merge(&[&spec]).unwrap().spec);
        let comparison = compared(&a, &[in_force(&b).unwrap()]);
        prop_assert!(comparison.opaque.is_empty() && comparison.newer.is_empty());
        let difference = diff(&a, &b);
        prop_assert_eq!(comparison.is_same(), difference.is_same(), "{:?}", comparison.differences);
        let told: BTreeSet<_> = comparison.differences.iter().map(|one| one.call.as_str()).collect();
        for call in &difference.calls {
            prop_assert!(told.contains(call.syscall.as_str()), "{}", call.syscall);
        }
    }
}

#[test]
fn one_call_is_told_with_what_it_gets() {
    let narrow = spec(
        Action::Errno,
        vec![rule(Action::Allow, &["read", "write"], &[])],
    );
    let wide = spec(
        Action::Errno,
        vec![rule(Action::Allow, &["read", "write", "openat"], &[])],
    );
    assert_eq!(
        told(&narrow, &wide),
        ["openat: profile says ERRNO, the kernel's filter ALLOW"]
    );
    assert_eq!(
        told(&wide, &narrow),
        ["openat: profile says ALLOW, the kernel's filter ERRNO"]
    );
}

#[test]
fn a_call_that_is_let_through_for_some_arguments_is_told_however_others_fail() {
    let profile = spec(
        Action::KillProcess,
        vec![rule(Action::Allow, &["ioctl"], &[])],
    );
    let args = [condition(0, Operator::Greater, 0)];
    let mut other = spec(Action::Errno, vec![rule(Action::Allow, &["socket"], &args)]);
    other.default_errno_ret = Some(38);
    let told = told(&profile, &other);
    for begin in ["ioctl: ", "socket with argument 0 = "] {
        let is_told = told.iter().any(|line| line.starts_with(begin));
        assert!(is_told, "{begin}: {told:?}");
    }
}

#[test]
fn conditions_are_told_apart_at_their_borders() {
    let with = |op, value| {
        let args = [condition(1, op, value)];
        spec(
            Action::Errno,
            vec![
                rule(Action::Allow, &["read"], &[]),
                rule(Action::Allow, &["ioctl"], &args),
            ],
        )
    };
    let value = 1 << 33;
    assert_eq!(
        told(
            &with(Operator::Less, value),
            &with(Operator::LessOrEqual, value)
        ),
        ["ioctl with argument 1 = 0x200000000: profile says ERRNO, the kernel's filter ALLOW"]
    );
    let mut masked = with(Operator::MaskedEqual, 0x3_0000_0000);
    masked.syscalls[1].args[0].value_two = 0x2_0000_0000;
    assert_eq!(told(&masked, &masked), Vec::<String>::new());
    assert_eq!(
        told(&masked, &with(Operator::Equal, 0x2_0000_0000)).len(),
        1
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn other_abis_are_compared() {
    let allow = |names: &[&str]| spec(Action::Errno, vec![rule(Action::Allow, names, &[])]);
    let names = ["read", "socket", "semop", "openat"];
    let all = all_of_x86(allow(&names));
    assert_eq!(told(&all, &all), Vec::<String>::new());
    // Only 64-bit calls are left to the container, or are meant to be.
    let expected = |profile, kernel| {
        let mut expected = Vec::new();
        for arch in [Arch::X86, Arch::X32] {
            for (_, name) in syscalls::calls(arch) {
                let is_named = names.contains(name);
                if is_named {
                    expected.push(format!(
                        "{name} of {arch}: profile says {profile}, the kernel's filter {kernel}"
                    ));
                }
            }
        }
        expected
    };
    let of_these = |told: Vec<String>| -> BTreeSet<String> {
        told.into_iter()
            .filter(|line| {
                names
                    .iter()
                    .any(|name| line.starts_with(&format!("{name} ")))
            })
            .collect()
    };
    let found = of_these(told(&all, &allow(&names)));
    assert_eq!(found, expected("ALLOW", "KILL").into_iter().collect());
    let found = of_these(told(&allow(&names), &all));
    assert_eq!(found, expected("KILL", "ALLOW").into_iter().collect());
    // `socket` has a second way in.
    let without = all_of_x86(allow(&["read", "semop", "openat"]));
    let lines = told(&all, &without);
    let second =
        "socketcall of x86 with argument 0 = 0x1: profile says ALLOW, the kernel's filter ERRNO";
    assert!(lines.iter().any(|line| line == second), "{lines:#?}");
}

#[test]
fn of_several_filters_the_most_severe_answer_counts() {
    let allow = |names: &[&str]| spec(Action::Errno, vec![rule(Action::Allow, names, &[])]);
    let log = spec(Action::Log, vec![]);
    let both = ["read", "write"].map(|name| in_force(&allow(&[name])).unwrap());
    let none = compared(&allow(&[]), &both);
    assert!(none.is_same(), "{none:?}");
    assert_eq!(compared(&allow(&["read"]), &both).differences.len(), 1);
    let logged = [
        in_force(&log).unwrap(),
        in_force(&allow(&["read"])).unwrap(),
    ];
    let told = compared(&allow(&["read"]), &logged).differences;
    assert_eq!(
        told[0].to_string(),
        "read: profile says ALLOW, the kernel's filter LOG"
    );
    // No filter at all allows everything.
    assert!(
        compared(&spec(Action::Allow, vec![]), &[])
            .differences
            .is_empty()
            == native().compat().is_none()
    );
}

/// What runc puts in front, in its own form: `ENOSYS` beyond the last call.
fn with_stub(spec: &SeccompSpec, last: u32) -> KernelFilter {
    let mut filter = in_force(spec).unwrap();
    let step = |code, jump_true, jump_false, operand| Instruction {
        code,
        jump_true,
        jump_false,
        operand,
    };
    let stub = [
        step(0x20, 0, 0, 4),
        step(0x15, 0, 4, native().audit()),
        step(0x20, 0, 0, 0),
        step(0x45, 2, 0, 0x4000_0000),
        step(0x25, 0, 1, last),
        step(0x06, 0, 0, 0x0005_0026),
    ];
    filter.program.splice(0..0, stub);
    filter
}

#[test]
fn what_runtimes_add_is_known_by_rule() {
    let old = ["read", "openat", "faccessat2"];
    let new = ["read", "openat", "faccessat2", "futex_waitv", "cachestat"];
    let allow = |names: &[&str]| spec(Action::Errno, vec![rule(Action::Allow, names, &[])]);
    let number = |name| syscalls::number(native(), name).unwrap();
    let last = number("faccessat2");
    let is_default = |spec: &SeccompSpec, filter: KernelFilter| {
        let found = compared(spec, &[filter]);
        assert!(found.is_same(), "{found:?}");
        found.newer
    };
    // Beyond the last call of the profile.
    assert!(is_default(&allow(&old), with_stub(&allow(&old), last)).is_empty());
    // Before it: that is no stub.
    let early = compared(&allow(&old), &[with_stub(&allow(&old), number("openat"))]);
    assert!(
        early.differences.iter().any(|one| one.call == "faccessat2"),
        "{early:?}"
    );
    // A runtime, or a profile, that does not have newer calls: with a stub, and without.
    let newer = BTreeSet::from(["cachestat".to_owned(), "futex_waitv".to_owned()]);
    assert_eq!(
        is_default(&allow(&new), with_stub(&allow(&old), last)),
        newer
    );
    assert_eq!(
        is_default(&allow(&new), in_force(&allow(&old)).unwrap()),
        newer
    );
    // One that has a newer call lacks an older one only by its profile.
    let some = ["read", "openat", "faccessat2", "cachestat"];
    let found = compared(&allow(&new), &[in_force(&allow(&some)).unwrap()]);
    assert_eq!(found.differences.len(), 1, "{found:?}");
    // What lets calls through is never taken for that.
    let deny = |names: &[&str]| spec(Action::Allow, vec![rule(Action::Errno, names, &[])]);
    let found = compared(&deny(&new), &[in_force(&deny(&old)).unwrap()]);
    assert_eq!(found.differences.len(), 2, "{found:?}");
    let found = compared(&deny(&old), &[with_stub(&deny(&old), last)]);
    assert!(!found.is_same());
}

#[test]
fn a_log_that_is_asked_for_must_be() {
    let mut logged = spec(Action::Errno, vec![rule(Action::Allow, &["read"], &[])]);
    logged.flags = vec![Flag::Log];
    let mut filter = in_force(&logged).unwrap();
    assert!(compared(&logged, &[filter.clone()]).unlogged);
    filter.logs = true;
    assert!(compared(&logged, &[filter]).is_same());
}
