//! Filters in the kernel. A filter belongs to the thread that loads it, so that each test loads
//! its own into a thread of its own; no privileges are needed.
#![expect(
    clippy::unwrap_used,
    reason = "a helper's panic fails the test that it helps"
)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{self, Command, Stdio};
use std::{env, thread};

use nix::errno::Errno;
use nix::unistd::getsid;
use spo::node::filter::{self, FilterError, Report, Skipped};
use spo::profile::arch::Arch;
use spo::profile::named::Named as _;
use spo::profile::seccomp::{
    Action, Architecture, Flag, Operator, SeccompSpec, SyscallArg, SyscallRule,
};
use spo::profile::syscalls;

/// An error that no call here gives by itself.
const DENIED: i32 = libc::EOWNERDEAD;

fn rule(
    action: Action,
    errno_ret: Option<u32>,
    names: &[&str],
    args: &[SyscallArg],
) -> SyscallRule {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    SyscallRule {
        names,
        action,
        errno_ret,
        args: args.to_vec(),
    }
}

fn deny(names: &[&str], args: &[SyscallArg]) -> SyscallRule {
    rule(Action::Errno, Some(DENIED.unsigned_abs()), names, args)
}

fn arg(index: u32, op: Operator, value: u64, value_two: u64) -> SyscallArg {
    SyscallArg {
        index,
        value,
        value_two,
        op,
    }
}

fn spec(default_action: Action, syscalls: Vec<SyscallRule>) -> SeccompSpec {
    SeccompSpec {
        syscalls,
        ..SeccompSpec::new(default_action)
    }
}

/// What a thread returns that runs under the profile.
fn under<T: Send>(spec: &SeccompSpec, calls: impl FnOnce() -> T + Send) -> (T, Report) {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (filter, report) = filter::build(spec).unwrap();
            filter.load().unwrap();
            (calls(), report)
        });
        thread.join().unwrap()
    })
}

fn session() -> Result<(), Errno> {
    getsid(None).map(|_| ())
}

#[cfg(target_arch = "x86_64")]
/// The program's instructions that compare with this value.
fn comparisons(spec: &SeccompSpec, value: u32) -> usize {
    let (filter, _) = filter::build(spec).unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    filter.write_program(&writer).unwrap();
    drop(writer);
    let mut program = Vec::new();
    reader.read_to_end(&mut program).unwrap();
    assert_eq!(program.len() % 8, 0);
    let operands = program
        .chunks(8)
        .filter(|instruction| instruction[0] == 0x15);
    operands
        .filter(|instruction| instruction[4..] == value.to_ne_bytes())
        .count()
}

#[test]
fn nothing_is_denied_without_a_filter() {
    assert_eq!(session(), Ok(()));
}

#[test]
fn errno_values() {
    for (errno_ret, expected) in [
        (None, Err(Errno::EPERM)),
        (Some(38), Err(Errno::ENOSYS)),
        (Some(1), Err(Errno::EPERM)),
        (Some(0), Ok(())),
    ] {
        let spec = spec(
            Action::Allow,
            vec![rule(Action::Errno, errno_ret, &["getsid"], &[])],
        );
        let ((denied, allowed), report) =
            under(&spec, || (session(), File::open("/dev/null").is_ok()));
        assert_eq!(denied, expected, "{errno_ret:?}");
        assert!(allowed);
        assert_eq!(report, Report::default());
    }
    for (errno_ret, expected) in [
        (4094, None),
        (4095, Some("4095 is too large for an error number")),
    ] {
        let spec = spec(
            Action::Allow,
            vec![rule(Action::Errno, Some(errno_ret), &["getsid"], &[])],
        );
        let error = filter::build(&spec).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), expected);
    }
}

/// What a thread needs to end, and a test to see.
const THREAD: &[&str] = &[
    "read",
    "write",
    "close",
    "lseek",
    "mmap",
    "munmap",
    "mprotect",
    "madvise",
    "brk",
    "futex",
    "exit",
    "exit_group",
    "sigaltstack",
    "rt_sigprocmask",
    "rt_sigaction",
    "rseq",
    "openat",
    "gettid",
    "getpid",
    "tgkill",
    "set_robust_list",
];

#[test]
fn the_default_action_is_for_all_other_calls() {
    let mut spec = spec(Action::Errno, vec![rule(Action::Allow, None, THREAD, &[])]);
    assert_eq!(
        under(&spec, || (session(), File::open("/dev/null").is_ok())).0,
        (Err(Errno::EPERM), true)
    );
    spec.default_errno_ret = Some(DENIED.unsigned_abs());
    assert_eq!(under(&spec, session).0, Err(Errno::EOWNERDEAD));
    // More rules than libseccomp searches one by one.
    let known: Vec<_> = (0..64)
        .filter_map(|number| syscalls::name(Arch::X86_64, number))
        .collect();
    spec.syscalls.push(rule(Action::Allow, None, &known, &[]));
    assert_eq!(
        under(&spec, || (session(), File::open("/dev/null").is_ok())).0,
        (Err(Errno::EOWNERDEAD), true)
    );
    spec.syscalls
        .push(rule(Action::Allow, None, &["getsid"], &[]));
    assert_eq!(under(&spec, session).0, Ok(()));
}

#[test]
fn actions() {
    let with = |action| {
        under(
            &spec(Action::Allow, vec![rule(action, None, &["getsid"], &[])]),
            session,
        )
        .0
    };
    assert_eq!(with(Action::Allow), Ok(()));
    assert_eq!(with(Action::Log), Ok(()));
    // Without a tracer the kernel says that there is no such call.
    assert_eq!(with(Action::Trace), Err(Errno::ENOSYS));

    let refused = |spec: &SeccompSpec| filter::build(spec).err().map(|error| error.to_string());
    let notify = "SCMP_ACT_NOTIFY needs a process that listens, and there is none".to_owned();
    let rules = vec![rule(Action::Notify, None, &["getsid"], &[])];
    assert_eq!(refused(&spec(Action::Allow, rules)), Some(notify.clone()));
    assert_eq!(refused(&SeccompSpec::new(Action::Notify)), Some(notify));
    let rules = vec![rule(Action::Trace, Some(65536), &["getsid"], &[])];
    assert!(matches!(
        filter::build(&spec(Action::Allow, rules)),
        Err(FilterError::TraceValue { value: 65536 })
    ));
    for action in [
        Action::Kill,
        Action::KillThread,
        Action::KillProcess,
        Action::Trap,
    ] {
        assert_eq!(
            refused(&spec(
                action,
                vec![rule(Action::Allow, None, &["getsid"], &[])]
            )),
            None,
            "{action}"
        );
    }
}

/// Whether seeking to each offset is denied. The offset is the call's second argument.
fn seeks(args: &[SyscallArg], offsets: &[u64]) -> Vec<bool> {
    let spec = spec(Action::Allow, vec![deny(&["lseek"], args)]);
    let calls = || {
        let mut file = File::open("/proc/self/exe").unwrap();
        let denied = |offset: &u64| {
            let result = file.seek(SeekFrom::Start(*offset));
            result.is_err_and(|error| error.raw_os_error() == Some(DENIED))
        };
        offsets.iter().map(denied).collect()
    };
    under(&spec, calls).0
}

#[test]
fn arguments() {
    const LARGE: u64 = 1 << 32;
    let offsets = [0, 5, 6, 7, LARGE, LARGE + 6, LARGE + 7];
    for (op, value, value_two, expected) in [
        (Operator::Equal, 6, 0, [0, 0, 1, 0, 0, 0, 0]),
        (Operator::NotEqual, 6, 0, [1, 1, 0, 1, 1, 1, 1]),
        (Operator::Less, 6, 0, [1, 1, 0, 0, 0, 0, 0]),
        (Operator::LessOrEqual, 6, 0, [1, 1, 1, 0, 0, 0, 0]),
        (Operator::Greater, 6, 0, [0, 0, 0, 1, 1, 1, 1]),
        (Operator::GreaterOrEqual, 6, 0, [0, 0, 1, 1, 1, 1, 1]),
        (Operator::Equal, LARGE + 6, 0, [0, 0, 0, 0, 0, 1, 0]),
        (Operator::Less, LARGE + 6, 0, [1, 1, 1, 1, 1, 0, 0]),
        (Operator::Greater, LARGE + 6, 0, [0, 0, 0, 0, 0, 0, 1]),
        (Operator::MaskedEqual, 3, 2, [0, 0, 1, 0, 0, 1, 0]),
        (
            Operator::MaskedEqual,
            LARGE | 4,
            LARGE,
            [0, 0, 0, 0, 1, 0, 0],
        ),
    ] {
        let denied = seeks(&[arg(1, op, value, value_two)], &offsets);
        assert_eq!(
            denied,
            expected.map(|denied| denied == 1),
            "{op} {value} {value_two}"
        );
    }
}

#[test]
fn conditions_on_several_arguments_must_all_hold() {
    let whence = |value| arg(2, Operator::Equal, value, 0);
    let offset = arg(1, Operator::Equal, 6, 0);
    assert_eq!(
        seeks(&[offset, whence(libc::SEEK_SET as u64)], &[5, 6]),
        [false, true]
    );
    assert_eq!(
        seeks(&[offset, whence(libc::SEEK_END as u64)], &[5, 6]),
        [false, false]
    );
}

/// What runtimes make of it: any of the conditions is enough, also of those on other arguments.
#[test]
fn conditions_on_one_argument_are_alternatives() {
    let offset = |value| arg(1, Operator::Equal, value, 0);
    assert_eq!(
        seeks(&[offset(5), offset(7)], &[4, 5, 6, 7]),
        [false, true, false, true]
    );
    let whence = arg(2, Operator::Equal, libc::SEEK_END as u64, 0);
    assert_eq!(
        seeks(&[offset(5), offset(7), whence], &[4, 5, 6, 7]),
        [false, true, false, true]
    );
}

#[test]
fn rules_like_the_default_change_nothing() {
    let rules = vec![
        rule(Action::Allow, None, &["getsid"], &[]),
        deny(&["getsid"], &[]),
    ];
    assert_eq!(
        under(&spec(Action::Allow, rules), session).0,
        Err(Errno::EOWNERDEAD)
    );
}

#[test]
fn unknown_names_are_told() {
    let rules = vec![deny(&["no_such_call", "getsid", "riscv_flush_icache"], &[])];
    let (denied, report) = under(&spec(Action::Allow, rules), session);
    assert_eq!(denied, Err(Errno::EOWNERDEAD));
    let told: Vec<_> = report.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["unknown syscall \"no_such_call\": its rules are left out"]
    );
}

/// The newest call of our tables is unknown to every libseccomp of today.
#[test]
#[cfg(target_arch = "x86_64")]
fn calls_newer_than_libseccomp_have_our_numbers() {
    let rules = vec![deny(&["rseq_slice_yield"], &[])];
    let mut spec = spec(Action::Allow, rules);
    assert_eq!(comparisons(&spec, 471), 1);
    assert_eq!(filter::build(&spec).unwrap().1, Report::default());
    spec.architectures = vec![Architecture::X86_64, Architecture::X86];
    assert_eq!(comparisons(&spec, 471), 1);
    let (_, report) = filter::build(&spec).unwrap();
    let newer = Skipped::Newer {
        syscall: "rseq_slice_yield".to_owned(),
        architecture: Architecture::X86,
    };
    assert!(report.skipped.into_iter().eq([newer]));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn rules_are_for_every_architecture() {
    // getsid is 124 on x86_64 and 147 on i386.
    let mut spec = spec(Action::Allow, vec![deny(&["getsid"], &[])]);
    assert_eq!((comparisons(&spec, 124), comparisons(&spec, 147)), (1, 0));
    spec.architectures = vec![Architecture::Native];
    assert_eq!((comparisons(&spec, 124), comparisons(&spec, 147)), (1, 0));
    spec.architectures = vec![Architecture::X86_64, Architecture::X86, Architecture::X32];
    assert_eq!((comparisons(&spec, 124), comparisons(&spec, 147)), (1, 1));
    assert_eq!(comparisons(&spec, 0x4000_0000 + 124), 1);
    assert_eq!(under(&spec, session).0, Err(Errno::EOWNERDEAD));

    spec.architectures = vec![Architecture::X86];
    assert_eq!((comparisons(&spec, 124), comparisons(&spec, 147)), (1, 1));
    let (denied, report) = under(&spec, session);
    assert_eq!(denied, Err(Errno::EOWNERDEAD));
    assert!(report.skipped.into_iter().eq([Skipped::NativeAdded]));
}

#[test]
fn flags() {
    let mut spec = spec(Action::Allow, vec![deny(&["getsid"], &[])]);
    spec.flags = vec![Flag::Log, Flag::SpecAllow];
    let (denied, report) = under(&spec, session);
    assert_eq!(
        (denied, report),
        (Err(Errno::EOWNERDEAD), Report::default())
    );

    spec.flags = vec![Flag::WaitKillableRecv];
    let (_, report) = filter::build(&spec).unwrap();
    let expected = libseccomp::check_api(7, libseccomp::ScmpVersion::from((2, 6, 0))).unwrap();
    assert_eq!(report.skipped.is_empty(), expected);
}

#[test]
fn only_this_thread_is_under_the_filter() {
    let spec = spec(Action::Allow, vec![deny(&["getsid"], &[])]);
    let field = |name: &str| {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().to_owned()
    };
    let before = field("Seccomp_filters:");
    let ((inside, privileges), _) =
        under(&spec, || (field("Seccomp_filters:"), field("NoNewPrivs:")));
    assert_eq!(field("Seccomp_filters:"), before);
    assert_ne!(inside, before);
    // Only those who may administrate the system can do without it.
    let expected = if nix::unistd::geteuid().is_root() {
        field("NoNewPrivs:")
    } else {
        "1".to_owned()
    };
    assert_eq!(privileges, expected);
    assert_eq!(session(), Ok(()));
}

/// Which rules win is libseccomp's choice; that others lose is told.
#[test]
fn rules_that_never_count_are_told() {
    let always: &[SyscallArg] = &[];
    let at = |value| vec![arg(1, Operator::Equal, value, 0)];
    let fail =
        |errno_ret, args: &[SyscallArg]| rule(Action::Errno, Some(errno_ret), &["lseek"], args);
    let log = |args: &[SyscallArg]| rule(Action::Log, None, &["lseek"], args);
    let allow = |args: &[SyscallArg]| rule(Action::Allow, None, &["lseek"], args);
    for (rules, expected, lost) in [
        (
            vec![log(always), fail(100, always)],
            [0, 0],
            vec![Action::Errno],
        ),
        (
            vec![fail(100, always), log(always)],
            [100, 100],
            vec![Action::Log],
        ),
        (
            vec![fail(100, &at(5)), log(always)],
            [0, 0],
            vec![Action::Errno],
        ),
        (
            vec![log(&at(5)), fail(100, always)],
            [100, 100],
            vec![Action::Log],
        ),
        (
            vec![fail(100, &at(5)), fail(101, &at(5))],
            [100, 0],
            vec![Action::Errno],
        ),
        (
            vec![fail(100, &at(5)), fail(101, &at(6))],
            [100, 101],
            vec![],
        ),
        (
            vec![fail(100, &at(5)), fail(100, always)],
            [100, 100],
            vec![],
        ),
        // Rules like the default action.
        (
            vec![allow(&at(5)), fail(100, always)],
            [100, 100],
            vec![Action::Allow],
        ),
        (
            vec![allow(&at(5)), fail(100, &at(5))],
            [100, 0],
            vec![Action::Allow],
        ),
        (vec![allow(always), fail(100, &at(5))], [100, 0], vec![]),
    ] {
        let spec = spec(Action::Allow, rules.clone());
        let seek = |offset| {
            let result = File::open("/proc/self/exe")
                .unwrap()
                .seek(SeekFrom::Start(offset));
            result
                .err()
                .map_or(0, |error| error.raw_os_error().unwrap())
        };
        let (errors, report) = under(&spec, || [seek(5), seek(6)]);
        assert_eq!(errors, expected, "{rules:?}");
        let told = |action| Skipped::Overshadowed {
            syscall: "lseek".to_owned(),
            action,
        };
        assert!(
            report
                .skipped
                .iter()
                .cloned()
                .eq(lost.into_iter().map(told)),
            "{rules:?} {report:?}"
        );
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn what_is_not_taken_in_is_told() {
    let mut spec = spec(Action::Allow, vec![deny(&["getsid"], &[])]);
    spec.base_profile_name = Some("runc".to_owned());
    // A filter is for one byte order.
    spec.architectures = vec![Architecture::X86_64, Architecture::S390x];
    let (denied, report) = under(&spec, session);
    assert_eq!(denied, Err(Errno::EOWNERDEAD));
    let told: Vec<_> = report.skipped.iter().map(ToString::to_string).collect();
    insta::assert_debug_snapshot!(told);
}

/// Ends a process of its own by what the filter does to it, and tells the signal.
fn signal_of_child(default_action: Action, denied_call: bool, ballast: usize) -> Option<i32> {
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "filter::child", "--ignored", "--test-threads=1"])
        // One heap for all threads, as in a program with one.
        .env("MALLOC_ARENA_MAX", "1")
        .env("SPO_TEST_DEFAULT_ACTION", default_action.name())
        .env("SPO_TEST_DENIED_CALL", denied_call.to_string())
        .env("SPO_TEST_BALLAST", ballast.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.signal()
}

#[test]
#[ignore = "run by other tests in a process of its own, which it ends"]
fn child() {
    let Ok(default_action) = env::var("SPO_TEST_DEFAULT_ACTION") else {
        return;
    };
    let default_action = Action::from_name(&default_action).unwrap();
    let denied_call = env::var("SPO_TEST_DENIED_CALL").unwrap() == "true";
    let refused = ["getsid", "brk", "mmap", "munmap", "mremap", "madvise"];
    let calls = Arch::ALL
        .into_iter()
        .flat_map(syscalls::calls)
        .map(|(_, name)| *name);
    let names: Vec<_> = calls.filter(|name| !refused.contains(name)).collect();
    let mut spec = spec(default_action, vec![rule(Action::Allow, None, &names, &[])]);
    spec.architectures = vec![Architecture::Native, Architecture::X86, Architecture::X32];
    let ballast: usize = env::var("SPO_TEST_BALLAST").unwrap().parse().unwrap();
    let filter = filter::build(&spec).unwrap().0;
    let ballast: Vec<_> = (0..ballast).map(|_| Box::new([1_u8; 4096])).collect();
    filter.load().unwrap();
    if denied_call {
        session().unwrap();
    }
    black_box(&ballast);
    process::abort();
}

// Where only the thread dies, the process that tests would wait for it forever.
#[test]
fn deadly_actions_kill() {
    for action in [Action::KillProcess, Action::Trap] {
        assert_eq!(
            signal_of_child(action, false, 0),
            Some(libc::SIGABRT),
            "{action}"
        );
        assert_eq!(
            signal_of_child(action, true, 0),
            Some(libc::SIGSYS),
            "{action}"
        );
    }
}

/// A profile with a deadly default action need not allow what the allocator does when the filter
/// is in force. Whether it does anything depends on how full the heap is.
#[test]
fn loading_makes_no_call_under_the_filter() {
    for ballast in 0..40 {
        let signal = signal_of_child(Action::KillProcess, false, ballast);
        assert_eq!(signal, Some(libc::SIGABRT), "{ballast}");
    }
}
