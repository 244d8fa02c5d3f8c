//! Merging, bases, complain mode and differences, by examples.

use spo::profile::object::Metadata;
use spo::profile::seccomp::{
    Action, Architecture, BaseError, COMPLAIN_OF, Flag, MergeError, Operator, SeccompProfile,
    SeccompSpec, SyscallArg, SyscallRule, complain, complain_object, diff, enforce, enforce_object,
    merge, resolve_base, write_raw,
};
use spo::profile::state::State;

fn rule(action: Action, names: &[&str], args: &[SyscallArg]) -> SyscallRule {
    SyscallRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action,
        errno_ret: None,
        args: args.to_vec(),
    }
}

fn fails(errno: u32, names: &[&str]) -> SyscallRule {
    SyscallRule {
        errno_ret: Some(errno),
        ..rule(Action::Errno, names, &[])
    }
}

fn arg(index: u32, op: Operator, value: u64) -> SyscallArg {
    SyscallArg {
        index,
        value,
        value_two: 0,
        op,
    }
}

fn spec(default_action: Action, syscalls: Vec<SyscallRule>) -> SeccompSpec {
    SeccompSpec {
        syscalls,
        ..SeccompSpec::new(default_action)
    }
}

/// A merge as its rules and its notes, one a line.
fn told(specs: &[&SeccompSpec]) -> Vec<String> {
    let merged = merge(specs).unwrap();
    let rules = merged.spec.syscalls.iter().map(|rule| {
        let args = rule.args.iter().map(|arg| {
            let op = arg.op.to_string();
            format!(
                " {}{}{}",
                arg.index,
                op.trim_start_matches("SCMP_CMP_"),
                arg.value
            )
        });
        let action = rule.action.to_string();
        let errno = rule
            .errno_ret
            .map(|errno| format!(" {errno}"))
            .unwrap_or_default();
        let action = action.trim_start_matches("SCMP_ACT_").to_owned() + &errno;
        format!(
            "{action} {}{}",
            rule.names.join(" "),
            args.collect::<String>()
        )
    });
    rules
        .chain(merged.notes.iter().map(ToString::to_string))
        .collect()
}

#[test]
fn unions_of_conditions() {
    use Operator::{Equal, Greater, GreaterOrEqual, LessOrEqual, NotEqual};
    let allow =
        |args: &[SyscallArg]| spec(Action::Errno, vec![rule(Action::Allow, &["socket"], args)]);
    let log = |args: &[SyscallArg]| spec(Action::Errno, vec![rule(Action::Log, &["socket"], args)]);
    let at = |value| arg(0, Equal, value);
    let lost = |arg| {
        format!(
            "socket: the conditions on argument {arg} cannot be told together in one profile: \
             they are left out, and the least restrictive action counts"
        )
    };
    for (first, second, expected) in [
        // An argument filter is not made stricter, and not dropped either.
        (
            allow(&[at(1)]),
            allow(&[at(2)]),
            vec!["ALLOW socket 0EQ1", "ALLOW socket 0EQ2"],
        ),
        (allow(&[at(1)]), allow(&[]), vec!["ALLOW socket"]),
        (
            allow(&[at(1)]),
            allow(&[arg(0, NotEqual, 1)]),
            vec!["ALLOW socket"],
        ),
        (
            allow(&[at(4)]),
            allow(&[arg(0, LessOrEqual, 3)]),
            vec!["ALLOW socket 0LE4"],
        ),
        (
            allow(&[at(1), arg(1, Equal, 2)]),
            allow(&[at(3), arg(1, Equal, 4)]),
            vec!["ALLOW socket 0EQ1 1EQ2", "ALLOW socket 0EQ3 1EQ4"],
        ),
        (
            allow(&[at(1), arg(1, Equal, 2)]),
            allow(&[at(1)]),
            vec!["ALLOW socket 0EQ1"],
        ),
        // One negation is enough.
        (
            log(&[]),
            allow(&[at(1)]),
            vec!["LOG socket 0NE1", "ALLOW socket 0EQ1"],
        ),
        (
            log(&[]),
            allow(&[arg(0, Greater, 99)]),
            vec!["LOG socket 0LE99", "ALLOW socket 0GT99"],
        ),
        // Nothing says what is between.
        (
            log(&[]),
            allow(&[at(1), at(99)]),
            vec!["ALLOW socket", &lost(0)],
        ),
        (
            allow(&[arg(0, LessOrEqual, 99)]),
            allow(&[arg(0, GreaterOrEqual, 1 << 40)]),
            vec!["ALLOW socket", &lost(0)],
        ),
    ] {
        assert_eq!(told(&[&first, &second]), expected);
        assert_eq!(told(&[&second, &first]), expected);
    }
}

#[test]
fn denials_meet_only_where_both_deny() {
    let deny = |values: &[u64]| {
        let rules = values.iter().map(|value| {
            rule(
                Action::Errno,
                &["socket"],
                &[arg(0, Operator::Equal, *value)],
            )
        });
        spec(Action::Allow, rules.collect())
    };
    assert_eq!(
        told(&[&deny(&[1, 2]), &deny(&[2, 3])]),
        ["ERRNO socket 0EQ2"]
    );
    assert!(told(&[&deny(&[1]), &deny(&[3])]).is_empty());
    let list = spec(Action::Errno, vec![rule(Action::Allow, &["read"], &[])]);
    assert_eq!(
        told(&[&deny(&[1, 2]), &list]),
        ["ERRNO socket 0EQ1", "ERRNO socket 0EQ2"]
    );
}

#[test]
fn defaults_numbers_and_other_fields() {
    let mut first = spec(
        Action::KillProcess,
        vec![fails(38, &["clone3"]), fails(13, &["bpf"])],
    );
    let mut second = spec(Action::Log, vec![fails(1, &["clone3"]), fails(1, &["bpf"])]);
    first.state = State::Disabled;
    first.architectures = vec![Architecture::X86_64];
    second.architectures = vec![Architecture::X86, Architecture::X86_64];
    first.base_profile_name = Some("runc".to_owned());
    second.flags = vec![Flag::Log];
    let merged = merge(&[&first, &second]).unwrap();
    assert_eq!(merged.spec.default_action, Action::Log);
    assert_eq!(merged.spec.state, State::Enabled);
    assert_eq!(merged.spec.base_profile_name.as_deref(), Some("runc"));
    assert_eq!(
        merged.spec.architectures,
        [Architecture::X86, Architecture::X86_64]
    );
    assert_eq!(merged.spec.flags, [Flag::Log]);
    assert_eq!(
        told(&[&first, &second]),
        [
            "ERRNO 38 clone3",
            "ERRNO bpf",
            "the profiles have different flags: all of them are kept",
            "the profiles list different architectures: all rules now count for all of them",
            "bpf: SCMP_ACT_ERRNO comes with different numbers: 1 is kept, not 13",
            "clone3: SCMP_ACT_ERRNO comes with different numbers: 38 is kept, not 1",
        ]
    );
    // None is the machine's own, which every list has.
    let native = spec(Action::Log, Vec::new());
    first.architectures = vec![Architecture::Native];
    assert_eq!(merge(&[&first, &native]).unwrap().spec.architectures, []);
    first.architectures = vec![Architecture::Arm];
    assert_eq!(
        merge(&[&first, &native]).unwrap().spec.architectures,
        [Architecture::Native, Architecture::Arm]
    );
}

#[test]
fn what_has_no_union_is_refused() {
    let mut first = spec(Action::Notify, Vec::new());
    let mut second = first.clone();
    assert_eq!(merge(&[]), Err(MergeError::Nothing));
    first.base_profile_name = Some("runc".to_owned());
    second.base_profile_name = Some("crun".to_owned());
    let error = merge(&[&first, &second]).unwrap_err().to_string();
    assert_eq!(
        error,
        "two base profiles, `crun` and `runc`; resolve them first, or merge them into one"
    );
    second.base_profile_name = None;
    first.listener_path = Some("/run/a".to_owned());
    assert!(merge(&[&first, &second]).is_ok());
    second.listener_path = Some("/run/b".to_owned());
    let error = merge(&[&first, &second]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the profiles have different values of `listenerPath`, `/run/a` and `/run/b`"
    );
}

#[test]
fn bases_add_rules() {
    let named = |base: &str, rules| SeccompSpec {
        base_profile_name: Some(base.to_owned()),
        ..spec(Action::Errno, rules)
    };
    let at = |value| [arg(0, Operator::Equal, value)];
    let child = named(
        "middle",
        vec![
            rule(Action::Allow, &["read"], &[]),
            rule(Action::Allow, &["socket"], &at(1)),
            rule(Action::Errno, &["mount"], &[]),
        ],
    );
    let middle = named("bottom", vec![rule(Action::Allow, &["socket"], &at(2))]);
    // What its own default says is a rule all the same.
    let mut bottom = spec(
        Action::Allow,
        vec![
            rule(Action::Allow, &["mount", "write"], &[]),
            rule(Action::KillProcess, &["bpf", "read"], &[]),
        ],
    );
    bottom.architectures = vec![Architecture::X86];
    let find = |name: &str| match name {
        "middle" => Some(middle.clone()),
        "bottom" => Some(bottom.clone()),
        _ => None,
    };
    let resolved = resolve_base(&child, find).unwrap();
    assert_eq!(resolved.notes, []);
    assert_eq!(resolved.spec.default_action, Action::Errno);
    assert_eq!(resolved.spec.architectures, []);
    assert_eq!(resolved.spec.base_profile_name, None);
    assert_eq!(
        told(&[&resolved.spec]),
        [
            "ALLOW mount read write",
            "KILL_PROCESS bpf",
            "ALLOW socket 0EQ1",
            "ALLOW socket 0EQ2"
        ]
    );
}

#[test]
fn bases_that_cannot_be_found() {
    let named = |base: &str| SeccompSpec {
        base_profile_name: Some(base.to_owned()),
        ..spec(Action::Errno, Vec::new())
    };
    let error = |first: &str, find: &dyn Fn(&str) -> Option<SeccompSpec>| {
        resolve_base(&named(first), find).map_err(|error| error.to_string())
    };
    let none = |_: &str| None;
    assert_eq!(
        error("runc", &none).unwrap_err(),
        "there is no profile `runc`"
    );
    let circle = |name: &str| Some(named(if name == "a" { "b" } else { "a" }));
    assert_eq!(
        error("a", &circle).unwrap_err(),
        "the base profiles go in a circle: `a` -> `b` -> `a`"
    );
    assert_eq!(
        resolve_base(&named("oci://example/runc:v1"), none),
        Err(BaseError::Registry {
            reference: "oci://example/runc:v1".to_owned()
        })
    );
    let chain = |last: u32| {
        move |name: &str| {
            let number: u32 = name.parse().unwrap();
            let end = SeccompSpec::new(Action::Errno);
            Some(if number == last {
                end
            } else {
                named(&(number + 1).to_string())
            })
        }
    };
    assert!(error("1", &chain(15)).is_ok());
    assert!(
        error("1", &chain(16))
            .unwrap_err()
            .starts_with("more than 15 base profiles")
    );
}

/// Runtimes take several conditions on one argument for alternatives, which no profile can tell beside
/// the others.
#[test]
fn what_complain_mode_made_wider_goes_back() {
    let args = [1, 1, 2, 3].map(|index| arg(index, Operator::Equal, 0));
    let original = spec(Action::Errno, vec![rule(Action::Allow, &["clone"], &args)]);
    let (complaining, notes) = complain(&original, &[]);
    assert!(notes.iter().any(|note| note.widens), "{notes:?}");
    assert_eq!(enforce(&complaining, Some(&original)), (original, vec![]));
}

/// Neighbouring values below one another in a tree of several arguments are no range.
#[test]
fn complaining_keeps_conditions_on_neighbouring_values() {
    let masked = |bits| SyscallArg {
        value_two: bits,
        ..arg(0, Operator::MaskedEqual, 1)
    };
    let at = |bits, value| [masked(bits), arg(1, Operator::Equal, value)];
    let original = spec(
        Action::Allow,
        vec![
            rule(Action::Trap, &["lseek"], &at(0, 0)),
            rule(Action::Log, &["lseek"], &at(0, 1)),
            rule(Action::Trap, &["lseek"], &at(1, 0)),
        ],
    );
    let (complaining, notes) = complain(&original, &[]);
    assert_eq!(notes, []);
    let expected = [at(0, 0), at(0, 1), at(1, 0)].map(|args| rule(Action::Log, &["lseek"], &args));
    assert_eq!(complaining.syscalls, expected);
    assert_eq!(enforce(&complaining, Some(&original)), (original, vec![]));
}

#[test]
fn complain_mode_and_back() {
    let original = spec(
        Action::KillProcess,
        vec![
            rule(Action::Allow, &["write", "read"], &[]),
            fails(38, &["clone3"]),
            rule(Action::Trap, &["bpf", "mount"], &[]),
            rule(Action::Notify, &["open"], &[]),
        ],
    );
    let keep = ["bpf".to_owned(), "ptrace".to_owned(), "read".to_owned()];
    let (complaining, notes) = complain(&original, &keep);
    assert_eq!(complaining.default_action, Action::Log);
    assert_eq!(
        told(&[&complaining]),
        [
            "ALLOW read write",
            "NOTIFY open",
            "TRAP bpf",
            "KILL_PROCESS ptrace"
        ]
    );
    let notes: Vec<_> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        ["read: is to stay blocked, but the profile does not block it"]
    );
    assert_eq!(
        enforce(&complaining, Some(&original)),
        (original.clone(), Vec::new())
    );

    // What was added meanwhile stays.
    let mut edited = complaining.clone();
    edited.syscalls.push(rule(Action::Allow, &["mount"], &[]));
    let (enforcing, notes) = enforce(&edited, Some(&original));
    assert_eq!(
        told(&[&enforcing]),
        [
            "ALLOW mount read write",
            "NOTIFY open",
            "ERRNO 38 clone3",
            "TRAP bpf"
        ]
    );
    let notes: Vec<_> = notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        ["mount: was changed in complain mode, and stays as it is now"]
    );

    let (enforcing, _) = enforce(&complaining, None);
    assert_eq!(enforcing.default_action, Action::Errno);
}

#[test]
fn objects_remember_what_they_were() {
    let object = SeccompProfile {
        metadata: Metadata {
            name: "demo".to_owned(),
            ..Metadata::default()
        },
        spec: spec(Action::Errno, vec![rule(Action::Allow, &["read"], &[])]),
    };
    let (complaining, _) = complain_object(&object, &[]).unwrap();
    let remembered = &complaining.metadata.annotations[COMPLAIN_OF];
    assert_eq!(*remembered, write_raw(&object.spec).unwrap());
    // Complaining twice forgets nothing.
    let (twice, _) = complain_object(&complaining, &[]).unwrap();
    assert_eq!(twice, complaining);
    assert_eq!(enforce_object(&twice), (object.clone(), Vec::new()));
    let mut broken = complaining.clone();
    broken
        .metadata
        .annotations
        .insert(COMPLAIN_OF.to_owned(), "[".to_owned());
    let (enforcing, notes) = enforce_object(&broken);
    assert_eq!(enforcing.spec.default_action, Action::Errno);
    assert!(notes[0].message.contains("is no profile"));
}

#[test]
fn differences_in_words_and_as_json() {
    let at = |value| [arg(0, Operator::Equal, value)];
    let mut a = spec(
        Action::Errno,
        vec![
            rule(Action::Allow, &["read", "mount"], &[]),
            rule(Action::Allow, &["socket"], &at(1)),
        ],
    );
    let mask = SyscallArg {
        index: 0,
        value: 0x7e02_0000,
        value_two: 0,
        op: Operator::MaskedEqual,
    };
    let mut b = spec(
        Action::Errno,
        vec![
            rule(Action::Allow, &["read", "ptrace"], &[]),
            rule(Action::Allow, &["socket"], &at(2)),
            rule(Action::Log, &["clone"], &[mask]),
            fails(38, &["clone3"]),
        ],
    );
    b.architectures = vec![Architecture::X86_64];
    a.flags = vec![Flag::Log];
    a.listener_path = Some("/run/a".to_owned());
    let difference = diff(&a, &b);
    assert!(difference.widens() && !difference.is_same());
    insta::assert_snapshot!("words", difference.to_string());
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&difference).unwrap());

    let same = diff(&a, &a);
    assert!(same.is_same() && !same.widens());
    assert_eq!(same.to_string(), "no difference\n");
    // Fewer calls, or another error, is no widening.
    let less = spec(
        Action::Errno,
        vec![rule(Action::Allow, &["read"], &[]), fails(38, &["bpf"])],
    );
    let more = spec(
        Action::Errno,
        vec![rule(Action::Allow, &["read", "write"], &[])],
    );
    assert!(!diff(&more, &less).widens() && diff(&less, &more).widens());
    // Rules in another order or with other names for the same are no difference.
    let kill = |action| spec(Action::Allow, vec![rule(action, &["bpf"], &[])]);
    assert!(diff(&kill(Action::Kill), &kill(Action::KillThread)).is_same());
}

/// Conditions that cannot all be looked at cost no time, and are not taken for the same.
#[test]
fn too_many_conditions_are_bounded() {
    let many = |from: u64| {
        let rules = (from..from + 200).map(|value| {
            let args = [0, 1, 2].map(|index| arg(index, Operator::Equal, 3 * value));
            rule(Action::Allow, &["socket"], &args)
        });
        spec(Action::Errno, rules.collect())
    };
    let (a, b) = (many(0), many(100));
    assert!(diff(&a, &b).widens());
    assert_eq!(told(&[&a, &b])[0], "ALLOW socket");
    assert!(
        merge(&[&a, &b])
            .unwrap()
            .notes
            .iter()
            .any(|note| note.widens)
    );
    // More values than are looked at, and more than there may be rules.
    for number in [20_000, 1000] {
        let rules = (0..number).map(|value| {
            rule(
                Action::Allow,
                &["socket"],
                &[arg(0, Operator::Equal, 2 * value)],
            )
        });
        let many = spec(Action::Errno, rules.collect());
        let widened = merge(&[&many]).unwrap();
        assert!(widened.notes.iter().any(|note| note.widens));
        assert_eq!(
            widened.spec.syscalls,
            [rule(Action::Allow, &["socket"], &[])]
        );
    }
}
