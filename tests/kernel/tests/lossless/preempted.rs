//! Runs of the programs that the kernel skips, because another run on the same CPU was interrupted.

use std::process::Command;

use spo_kernel_tests::probe::nth;

use super::programs::{Program, held_by};
use super::recording::{PROBE, Session, sized};

#[test]
fn a_thread_that_interrupts_another_all_the_time() {
    if let Err(reason) = may_be_urgent() {
        eprintln!("skipped: a SCHED_FIFO thread: this machine refuses it: {reason}");
        return;
    }
    let names: Vec<&str> = (0..sized(60, 20)).map(nth).collect();
    let seconds = sized("4", "2");
    let session = Session::start(
        &[],
        &[&[PROBE, "preempt", seconds], names.as_slice()].concat(),
    );
    session.wait_until_attached();
    // Held, the programs outlive the recording, and with them the kernel's own figure.
    let programs: Vec<Program> = held_by(session.id())
        .into_iter()
        .map(Program::by_id)
        .collect();
    assert_eq!(programs.len(), 4);
    let recording = session.finish();
    assert!(recording.status.success(), "{}", recording.stderr);
    let skipped: u64 = programs.iter().map(Program::skipped_runs).sum();
    assert_eq!(
        recording.counter("skipped-runs"),
        skipped,
        "{}",
        recording.stderr
    );
    let figures: Vec<u64> = recording
        .stdout
        .split_whitespace()
        .map(|word| word.parse().expect("a figure"))
        .collect();
    let [calls, wakeups] = figures.as_slice() else {
        panic!("{}", recording.stdout)
    };
    eprintln!(
        "{calls} calls, interrupted by {wakeups} wake-ups: the kernel skipped {skipped} runs, and so spo says"
    );
    assert!(*wakeups > sized(1000, 10), "the urgent thread hardly ran");
    if skipped == 0 {
        recording.assert_nothing_lost();
        recording.profile().assert_rare(names);
    } else {
        let lost = recording.profile().annotation("lost").expect("it tells");
        assert!(
            lost.parse::<u64>().is_ok_and(|lost| lost >= skipped),
            "{lost}"
        );
        assert!(recording.stderr.contains("LOST: "), "{}", recording.stderr);
    }
}

/// The field of the kernel's structure is the right one: here is a program that is skipped all the time.
#[test]
fn skipped_runs_are_counted_where_they_are_looked_for() {
    let (program, links) = Program::that_recurses();
    for _ in 0..1000 {
        let _parent = nix::unistd::getppid();
    }
    drop(links);
    let (id, skipped) = program.id_and_skipped_runs();
    assert!(skipped >= 1000, "{skipped}");
    let programs = spo::bpf::loaded_programs().expect("the kernel lists its programs");
    let found = programs
        .iter()
        .find(|program| program.id == id)
        .expect("it is loaded");
    assert_eq!(found.skipped_runs, program.skipped_runs());
}

/// Whether a thread may run before all others.
fn may_be_urgent() -> Result<(), String> {
    let output = Command::new(PROBE)
        .args(["preempt", "0", "fsync", "fsync"])
        .output()
        .expect("the probe runs");
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().find(|line| line.contains("SCHED_FIFO: ")) {
        Some(refusal) => Err(refusal.to_owned()),
        None => Ok(()),
    }
}
