//! A command, and all that descends from it.

use std::process::Command;

use spo_kernel_tests::probe::{RARE, nth};
use spo_kernel_tests::tier;

use super::recording::{PROBE, Session, complete, sized};

#[test]
fn calls_at_known_moments_and_just_before_the_end() {
    let names = ["chroot", "acct", "mkdir", "tee", "bind", "vserver"];
    let recording = complete(&[&[PROBE, "moments"], names.as_slice()].concat());
    recording.profile().assert_rare(names);
    let last = recording
        .profile()
        .annotation("since-last-new-syscall")
        .expect("it tells");
    assert!(
        last == "0.0s" || tier::is_vm(),
        "the last call was new, {last} before the end"
    );
}

#[test]
fn every_rare_call_by_its_name() {
    complete(&[PROBE, "burst"])
        .profile()
        .assert_rare(RARE.map(|(name, _)| name));
    complete(&[PROBE, "one"]).profile().assert_rare([]);
}

#[test]
fn two_thousand_short_lives() {
    let (count, parallel) = sized((2000, 4), (100, 2));
    let recording = complete(&[PROBE, "swarm", &count.to_string(), &parallel.to_string()]);
    recording.profile().assert_rare((0..count).map(nth));
    let figures: Vec<usize> = recording
        .stdout
        .split_whitespace()
        .map(|word| word.parse().expect("a figure"))
        .collect();
    let [processes, short, median] = figures.as_slice() else {
        panic!("{}", recording.stdout)
    };
    eprintln!(
        "{processes} processes, {short} of them shorter than 5 ms, half of them shorter than {median} µs: nothing lost"
    );
    assert_eq!(*processes, count);
    assert!(
        *median < 5000 || tier::is_vm(),
        "half of them lived {median} µs"
    );
}

#[test]
fn a_bomb_of_bounded_size() {
    let depth = sized(8, 5);
    let recording = complete(&[PROBE, "bomb", &depth.to_string()]);
    recording.profile().assert_rare((0..1 << depth).map(nth));
}

#[test]
fn a_program_that_a_thread_executes() {
    for how in ["blocked", "exited", "failing"] {
        let names = ["fsync", "sendmmsg", "ustat"];
        complete(&[&[PROBE, "exec-from-thread", how], names.as_slice()].concat())
            .profile()
            .assert_rare(names);
    }
    complete(&[PROBE, "hop", "20", "kcmp"])
        .profile()
        .assert_rare(["kcmp"]);
}

#[test]
fn descendants_of_every_kind() {
    let names: Vec<&str> = (0..11).map(nth).collect();
    let recording = complete(&[&[PROBE, "family"], names.as_slice()].concat());
    recording.profile().assert_rare(names);
}

#[test]
fn a_daemon_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("made-by-the-daemon");
    let path = file.to_str().expect("a path");
    let recording = complete(&[PROBE, "daemon", path, "semop"]);
    recording.profile().assert_rare(["semop"]);
    assert!(file.exists(), "the recording ended before the daemon did");
}

#[test]
fn a_program_that_the_command_did_not_start_is_not_recorded() {
    let session = Session::start(&[], &["cat"]);
    session.wait_until_attached();
    let status = Command::new(PROBE).args(["one", "acct"]).status();
    assert!(status.is_ok_and(|status| status.success()));
    let recording = session.finish();
    recording.assert_nothing_lost();
    recording.profile().assert_rare([]);
}

#[test]
fn five_recordings_at_once_do_not_mix() {
    let sessions: Vec<_> = (0..5)
        .map(|index| Session::start(&[], &[PROBE, "chain", nth(2 * index), nth(2 * index + 1)]))
        .collect();
    for (index, session) in sessions.into_iter().enumerate() {
        let recording = session.finish();
        recording.assert_nothing_lost();
        recording
            .profile()
            .assert_rare([nth(2 * index), nth(2 * index + 1)]);
    }
}
