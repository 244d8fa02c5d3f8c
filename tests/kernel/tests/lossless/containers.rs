//! Mount namespaces that come into being while a command runs: a profile each, of the workload alone.

use std::collections::BTreeSet;

use spo_kernel_tests::probe::nth;

use super::recording::{PROBE, Recording, record, sized};

fn containers(words: &[&str]) -> Recording {
    let recording = record(&["--new-containers"], words);
    assert!(recording.status.success(), "{}", recording.stderr);
    recording.assert_nothing_lost();
    recording
}

/// The profile holds what the workload called from its first call after `execve` on, and nothing from before.
fn assert_workload(recording: &Recording, rare: &[&str]) {
    let profile = recording.profile();
    profile.assert_rare(rare.iter().copied());
    for name in ["brk", "arch_prctl", "exit_group"] {
        assert!(profile.names.contains(name), "{name}: {:?}", profile.names);
    }
    for name in ["unshare", "clone3", "execve"] {
        assert!(!profile.names.contains(name), "{name}: {:?}", profile.names);
    }
    assert_eq!(profile.annotation("partial"), None);
}

#[test]
fn preparation_and_hooks_are_not_the_workload() {
    for how in ["unshare", "clone"] {
        let recording = containers(&[
            PROBE,
            "container",
            how,
            "fsync",
            "tee",
            "one",
            "bind",
            "acct",
        ]);
        assert_workload(&recording, &["bind", "acct"]);
    }
}

#[test]
fn the_first_of_a_process_id_namespace_is_the_workload() {
    let words = [
        "unshare", "--mount", "--pid", "--fork", PROBE, "one", "bind", "acct",
    ];
    assert_workload(&containers(&words), &["bind", "acct"]);
}

#[test]
fn what_the_workload_creates_belongs_to_it() {
    let script = "unshare -m \"$0\" one fsync; \"$0\" container clone tee bind one acct";
    let recording = containers(&["unshare", "-m", "sh", "-c", script, PROBE]);
    // The last one is what `unshare` does in its new namespace.
    recording
        .profile()
        .assert_rare(["fsync", "tee", "bind", "acct", "mount"]);
}

/// Numbers of namespaces are used again at once: each is a container of its own all the same.
#[test]
fn one_after_the_other() {
    let names: Vec<&str> = (0..sized(20, 5)).map(nth).collect();
    let script = "for name; do unshare -m \"$0\" one $name; \"$0\" one semop; done";
    assert_each_its_own(
        &containers(&[&["sh", "-c", script, PROBE], names.as_slice()].concat()),
        &names,
    );
}

#[test]
fn all_at_once() {
    let names: Vec<&str> = (0..sized(100, 10)).map(nth).collect();
    let script = "for name; do unshare -m \"$0\" one $name & done; \"$0\" one semop; wait";
    assert_each_its_own(
        &containers(&[&["sh", "-c", script, PROBE], names.as_slice()].concat()),
        &names,
    );
}

fn assert_each_its_own(recording: &Recording, names: &[&str]) {
    let mut missing: BTreeSet<&str> = names.iter().copied().collect();
    for (file, profile) in &recording.profiles {
        let rare = profile.rare();
        assert_eq!(rare.len(), 1, "{file}: {rare:?}");
        assert!(
            missing.remove(rare.first().expect("one")),
            "{file}: {rare:?}"
        );
    }
    assert!(missing.is_empty(), "{missing:?} are in no profile");
}

#[test]
fn a_command_that_starts_no_container() {
    let recording = record(&["--new-containers"], &[PROBE, "one", "fsync"]);
    assert!(recording.profiles.is_empty());
    assert_eq!(recording.code(), 125, "{}", recording.stderr);
    assert!(
        recording.stderr.contains("nothing was recorded (lost: 0)"),
        "{}",
        recording.stderr
    );
}
