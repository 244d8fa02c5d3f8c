//! An idle system pays nothing: the programs are there while a recording runs, and at no other time.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use super::programs::{held_by, loaded, names};
use super::recording::{PROBE, Session, record, until};

/// Starts a recording, and returns its programs, which nobody had loaded before.
fn started() -> (Session, BTreeSet<u32>) {
    let before = loaded();
    let session = Session::start(&[], &["cat"]);
    session.wait_until_attached();
    let programs = held_by(session.id());
    let expected = ["sched_process_e", "sched_process_f", "sys_enter"].map(str::to_owned);
    assert_eq!(names(&programs), BTreeSet::from(expected));
    assert!(programs.is_subset(&loaded()));
    assert!(programs.is_disjoint(&before));
    (session, programs)
}

fn until_gone(programs: &BTreeSet<u32>) {
    until("the programs are gone", || programs.is_disjoint(&loaded()));
}

#[test]
fn programs_go_when_the_command_ends() {
    let (session, programs) = started();
    let recording = session.finish();
    assert!(recording.status.success(), "{}", recording.stderr);
    until_gone(&programs);
}

#[test]
fn programs_go_after_an_interruption() {
    let (session, programs) = started();
    session.wait_until_listening();
    session.signal(Signal::SIGINT);
    let recording = session.finish();
    assert_eq!(recording.profiles.len(), 1, "{}", recording.stderr);
    until_gone(&programs);
}

#[test]
fn programs_go_when_spo_is_killed() {
    let (session, programs) = started();
    session.signal(Signal::SIGKILL);
    // The command goes on, until its standard input ends.
    let recording = session.finish();
    assert_eq!(recording.code(), 137);
    assert!(recording.profiles.is_empty());
    until_gone(&programs);
}

#[test]
fn programs_go_after_a_command_that_fails_or_is_not_there() {
    for (words, code) in [
        (&[PROBE, "exit", "3"][..], 3),
        (&["/nonexistent"], 127),
        (&["/"], 126),
    ] {
        let before = loaded();
        let recording = record(&[], words);
        assert_eq!(recording.code(), code, "{}", recording.stderr);
        // Those of others may come at any time, and be called the same.
        until(
            "there are no programs besides those that were there",
            || loaded().is_subset(&before),
        );
    }
}
