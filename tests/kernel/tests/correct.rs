//! Is the recorded set what the programs called, and does a profile made of it let them work?
//!
//! For each program: the recorded set equals what a second observer of the same run saw, five runs out of
//! five, and holds all that `strace` finds in every run of its own; under the profile, with EPERM for
//! all else, the program works as before and nothing is denied, in the host and in containers
//! of runc and crun; and with one call taken out, that one is denied.

#![expect(
    clippy::print_stdout,
    reason = "figures of a run are told with --nocapture"
)]

#[path = "correct/container.rs"]
mod container;
#[path = "correct/programs.rs"]
mod programs;

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use spo::profile::arch::Arch;
use spo::profile::syscalls;
use spo_kernel_tests::spo::{Finished, allowed, architectures, command, write_profile};
use spo_kernel_tests::tier;
use spo_kernel_tests::tracefs::Observer;

use programs::{Program, Run};

/// Runs that are recorded, and runs that `strace` follows; a guest is some twenty times slower.
fn runs() -> (usize, usize) {
    if tier::is_vm() { (2, 1) } else { (5, 3) }
}

/// How long a program without one of its calls may take until it is denied.
fn control_time() -> Duration {
    Duration::from_secs(if tier::is_vm() { 40 } else { 3 })
}

/// Calls that the control takes out, whichever the program makes first: no program hangs for want of them.
const DISPENSABLE: [&str; 8] = [
    "prlimit64",
    "ugetrlimit",
    "getrandom",
    "sysinfo",
    "uname",
    "readlink",
    "set_robust_list",
    "brk",
];

fn check(program: &Program) {
    if !tier::has(program.name, program.needs) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("profile.json");
    let mut names = BTreeSet::new();
    let mut recordings = Vec::new();
    for round in 0..runs().0 {
        let recording = folder.path().join(format!("round-{round}.json"));
        names.extend(recorded_and_observed(
            program,
            folder.path(),
            &recording,
            round,
        ));
        recordings.push(recording);
    }
    spo("merge", &profile, &recordings);
    assert_eq!(allowed(&profile), names);
    let arches = architectures(&profile);
    assert!(arches.contains("SCMP_ARCH_X86_64"), "{arches:?}");
    assert_eq!(
        arches.contains("SCMP_ARCH_X86"),
        program.abi == Arch::X86,
        "{arches:?}"
    );
    if tier::has("strace", &["strace"]) {
        let always = straced(program, folder.path());
        let missing: Vec<_> = always.difference(&names).collect();
        assert!(
            missing.is_empty(),
            "{}: strace always sees {missing:?}",
            program.name
        );
    }

    let finished = under_profile(program, folder.path(), &profile);
    assert!(
        finished.denied().is_empty(),
        "{}: {}",
        program.name,
        finished.stderr
    );

    control(program, folder.path(), &names, &arches);

    // What `spo record` writes by default: an object, with base calls.
    let based = folder.path().join("based.yaml");
    let run = program.prepare(folder.path());
    let mut record = command(["record", "-o"]);
    record.arg(&based).arg("--").args(&run.command);
    run.drive(&mut record);
    recordings.insert(0, based);
    let object = folder.path().join("profile.yaml");
    spo("merge", &object, &recordings);
    spo("convert", &profile, &[object]);

    for runtime in ["runc", "crun"] {
        if tier::has(runtime, &[runtime]) {
            let finished = container::run(runtime, program, folder.path(), &profile);
            assert!(
                finished.denied().is_empty(),
                "{} in {runtime}: {}",
                program.name,
                finished.stderr
            );
        }
    }
}

/// Has `spo` make a profile of others.
fn spo(verb: &str, output: &Path, inputs: &[PathBuf]) {
    let child = command([verb, "-o"]).arg(output).args(inputs).spawn();
    let finished = Finished::of(child.expect("spo starts"));
    assert!(finished.status.success(), "{verb}: {}", finished.stderr);
}

/// One recording with the observer beside it: both must name the same calls.
fn recorded_and_observed(
    program: &Program,
    folder: &Path,
    profile: &Path,
    round: usize,
) -> BTreeSet<String> {
    let run = program.prepare(folder);
    let tracer = Observer::start(program.name);
    let mut spo = command(["record", "-n", "-t", "raw-seccomp", "-o"]);
    spo.arg(profile).arg("--").args(&run.command);
    let finished = run.drive(&mut spo);
    let trace = tracer.stop();
    assert!(finished.stderr.contains("lost: 0"), "{}", finished.stderr);
    let mut observed = BTreeSet::new();
    for number in trace.numbers() {
        let arch = if number == libc::SYS_execve && program.abi == Arch::X86 {
            Arch::X86_64
        } else {
            program.abi
        };
        let named = u32::try_from(number)
            .ok()
            .and_then(|number| syscalls::name(arch, number));
        observed.insert(
            named
                .unwrap_or_else(|| panic!("number {number} has no name"))
                .to_owned(),
        );
    }
    let recorded = allowed(profile);
    let missing: Vec<_> = observed.difference(&recorded).collect();
    let extra: Vec<_> = recorded.difference(&observed).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{} round {round} of {} calls: missing {missing:?}, not observed {extra:?}",
        program.name,
        trace.len()
    );
    println!(
        "{} round {round}: {} syscalls recorded, the same observed in {} calls",
        program.name,
        recorded.len(),
        trace.len()
    );
    recorded
}

/// The calls that `strace -f` sees in every one of several runs.
fn straced(program: &Program, folder: &Path) -> BTreeSet<String> {
    let log = folder.join("strace.log");
    let mut always: Option<BTreeSet<String>> = None;
    for _ in 0..runs().1 {
        let run = program.prepare(folder);
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o"])
            .arg(&log)
            .args(&run.command);
        run.drive(strace.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let seen = named_by_strace(&std::fs::read_to_string(&log).expect("strace's log"));
        always = Some(match always {
            Some(always) => always.intersection(&seen).cloned().collect(),
            None => seen,
        });
    }
    always.unwrap_or_default()
}

fn named_by_strace(log: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let rest = rest.trim_start();
        let rest = rest.strip_prefix("<... ").unwrap_or(rest);
        let end = rest
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if after.starts_with(['(', ' ']) && syscalls::known(name) {
            names.insert(name.to_owned());
        }
    }
    names
}

fn under_profile(program: &Program, folder: &Path, profile: &Path) -> Finished {
    let run = program.prepare(folder);
    let mut spo = command(["run", "-p"]);
    spo.arg(profile).arg("--").args(&run.command);
    run.drive(&mut spo)
}

/// The check for denials must find one that is there.
fn control(program: &Program, folder: &Path, names: &BTreeSet<String>, arches: &BTreeSet<String>) {
    let without = DISPENSABLE
        .iter()
        .find(|name| names.contains(**name))
        .expect("a dispensable call");
    let mut fewer = names.clone();
    fewer.remove(*without);
    let profile = folder.join("control.json");
    write_profile(&profile, &fewer, arches);
    let Run {
        command: arguments, ..
    } = program.prepare(folder);
    let mut spo = command(["run", "-p"]);
    spo.arg(&profile).arg("--").args(&arguments);
    // Not driven: a server, or what is left of it, ends with its group when it has had time for its denials.
    let child = spo.process_group(0).spawn().expect("spo starts");
    let group = Pid::from_raw(child.id().cast_signed());
    let finished = std::thread::scope(|scope| {
        let (ended, over) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            if over.recv_timeout(control_time()).is_err() {
                killpg(group, Signal::SIGKILL).expect("the group can be ended");
            }
        });
        let finished = Finished::of(child);
        let _over = ended.send(()).is_ok();
        finished
    });
    assert!(
        finished.denied().contains(*without),
        "{} without {without}: {}",
        program.name,
        finished.stderr
    );
}

macro_rules! programs {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(&programs::$name());
        }
    )*};
}

programs! { ls_recursive python_http_server curl nginx redis_server git_clone bash_pipeline static_binary binary_32_bit threads daemon }
