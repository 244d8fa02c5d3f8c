//! Maps that are too small: losses are counted and told.

use std::process::Command;

use nix::sys::signal::Signal;
use spo_kernel_tests::probe::{RARE, nth};

use super::recording::{PROBE, Recording, Session, complete, record};

/// The counter that must have grown; it must be told in the profile too, and make the recording one with losses.
fn assert_lost(recording: &Recording, counter: &str) {
    let count = recording.counter(counter);
    assert!(count > 0, "{counter}: {}", recording.stderr);
    assert!(recording.stderr.contains("LOST: "), "{}", recording.stderr);
    assert!(!recording.profiles.is_empty(), "{}", recording.stderr);
    for profile in recording.profiles.values() {
        let lost: u64 = profile
            .annotation("lost")
            .expect("it tells")
            .parse()
            .expect("a number");
        assert!(lost >= count, "{lost} of {count}");
        let losses = profile.annotation("losses").expect("it tells");
        assert!(
            losses
                .split(',')
                .any(|loss| loss == format!("{counter}={count}")),
            "{losses}"
        );
    }
}

/// There is no profile, and the reason is told.
fn assert_all_lost(recording: &Recording) {
    assert!(recording.profiles.is_empty(), "{}", recording.stderr);
    assert_eq!(recording.code(), 125, "{}", recording.stderr);
    let lost = recording
        .stderr
        .split_once("(lost: ")
        .map_or("0", |(_, after)| after);
    assert!(!lost.starts_with('0'), "{}", recording.stderr);
}

#[test]
fn a_full_ring_loses_events_and_no_calls() {
    let mut session = Session::start(&["--map-sizes", "ring=4096"], &[PROBE, "burst"]);
    session.wait_for_output("ready");
    // Nobody reads the ring meanwhile.
    session.signal(Signal::SIGSTOP);
    session.close_input();
    session.wait_for_output("done");
    session.signal(Signal::SIGCONT);
    let recording = session.finish();
    let full = recording.counter("events-full");
    assert!(full > 0, "{}", recording.stderr);
    eprintln!(
        "{full} of {} events did not fit, and the set is complete",
        recording.profile().names.len()
    );
    assert_eq!(
        recording.counter("events-missing"),
        0,
        "{}",
        recording.stderr
    );
    assert!(
        recording.stderr.contains("; lost: 0 events-full="),
        "{}",
        recording.stderr
    );
    assert_eq!(recording.profile().annotation("lost"), Some("0"));
    recording.profile().assert_rare(RARE.map(|(name, _)| name));
}

#[test]
fn a_full_list_of_numbers_without_a_name() {
    let words = [PROBE, "numbers", "9999", "9998", "9998", "9997", "9999"];
    let recording = record(&["--map-sizes", "unnamed=1"], &words);
    assert_lost(&recording, "unnamed-full");
    assert_eq!(recording.counter("unnamed-full"), 3);
    assert_eq!(
        recording.profile().annotation("unnamed"),
        Some("number 9999 (x86_64)")
    );
    assert!(
        recording
            .stderr
            .contains("number 9999 (x86_64), which has no name (called 2 times)"),
        "{}",
        recording.stderr
    );
    complete(&words);
}

/// The table of threads ends a few numbers above those in use: the command has a place in it, and its later children
/// have none.
#[test]
fn a_table_of_threads_that_is_too_short() {
    let last = last_process_id(2000);
    let recording = record(
        &["--map-sizes", &format!("threads={}", last + 300)],
        &[PROBE, "swarm", "600", "2"],
    );
    assert!(recording.status.success(), "{}", recording.stderr);
    assert_lost(&recording, "unresolved");
    let found = recording.profile().rare();
    assert!(found.contains(nth(0)), "the first child has a place");
    eprintln!(
        "thread ids beyond the table: {} calls told as lost",
        recording.counter("unresolved")
    );
}

/// Here the command itself has no place.
#[test]
fn a_table_of_threads_without_the_command() {
    last_process_id(2000);
    let recording = record(&["--map-sizes", "threads=64"], &[PROBE, "one", "fsync"]);
    assert_all_lost(&recording);
}

const CONTAINERS: &str =
    "for name in fsync tee bind acct link; do unshare -m \"$0\" one $name || exit; done";

#[test]
fn more_containers_than_sets() {
    let recording = record(
        &["--new-containers", "--map-sizes", "subjects=4"],
        &["sh", "-c", CONTAINERS, PROBE],
    );
    assert_lost(&recording, "subjects-full");
    // One set for the preparation of the first container, and one for the container.
    recording.profile().assert_rare(["fsync"]);
}

/// The namespaces of others, which are not recorded, take places too: there may be none for a container.
#[test]
fn more_mount_namespaces_than_places() {
    let recording = record(
        &["--new-containers", "--map-sizes", "namespaces=3"],
        &["sh", "-c", CONTAINERS, PROBE],
    );
    if recording.profiles.is_empty() {
        assert_all_lost(&recording);
    } else {
        assert_lost(&recording, "namespaces-full");
        assert!(recording.profiles.len() < 5, "{}", recording.stderr);
    }
}

/// The process id that was given last; so many more come before the kernel begins from 1 again.
fn last_process_id(room: u32) -> u32 {
    let most: u32 = std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .expect("a limit")
        .trim()
        .parse()
        .expect("a number");
    loop {
        let child = Command::new("true").spawn().expect("a child");
        let last = child.id();
        assert!(child.wait_with_output().is_ok());
        if last + room < most {
            return last;
        }
    }
}
