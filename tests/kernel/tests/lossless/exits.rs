//! Exit codes, and what is left when a recording ends early.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::recording::{PROBE, Session, record, sized};

#[test]
fn the_exit_code_is_the_commands() {
    for (words, code) in [
        (&[PROBE, "exit", "0"][..], 0),
        (&[PROBE, "exit", "1"], 1),
        (&[PROBE, "exit", "255"], 255),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["sh", "-c", "kill -TERM $$"], 143),
        // A real-time signal, which has no name.
        (&["sh", "-c", "kill -40 $$"], 168),
    ] {
        let recording = record(&[], words);
        assert_eq!(recording.code(), code, "{words:?}: {}", recording.stderr);
        recording.assert_nothing_lost();
        assert!(recording.profile().names.contains("execve"), "{words:?}");
    }
}

#[test]
fn a_command_that_is_not_there_or_is_no_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
        path.to_str().expect("a path").to_owned()
    };
    for (command, code) in [
        ("no-such-command".to_owned(), 127),
        ("/no/such/command".to_owned(), 127),
        (file("script", "#!/no/such/interpreter\n", 0o755), 127),
        (file("text", "text", 0o755), 126),
        (file("plain", "#!/bin/sh\n", 0o644), 126),
        ("/".to_owned(), 126),
    ] {
        let recording = record(&[], &[&command]);
        assert_eq!(recording.code(), code, "{command}: {}", recording.stderr);
        assert!(recording.profiles.is_empty(), "{command}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_found_before_the_command_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let directory = folder.path().to_str().expect("a path");
    for output in [
        "/no/such/folder/profile.yaml",
        "no-such-folder/",
        directory,
        "/proc/version",
    ] {
        let recording = record(&["-o", output], &["touch", trace.to_str().expect("a path")]);
        assert_eq!(recording.code(), 125, "{output}: {}", recording.stderr);
        assert!(
            recording.stderr.contains("cannot write"),
            "{}",
            recording.stderr
        );
        assert!(!trace.exists(), "{output}: the command ran");
    }
}

#[test]
fn a_name_of_what_is_open_is_not_replaced() {
    let recording = record(&["-o", "/dev/stdout"], &[PROBE, "exit", "0"]);
    assert!(recording.status.success(), "{}", recording.stderr);
    assert!(recording.stdout.contains("kind: SeccompProfile"));
    let link = fs::symlink_metadata("/dev/stdout").expect("it is there");
    assert!(link.is_symlink());
}

#[test]
fn an_orphan_that_dies_of_a_signal_without_a_name_ends_nothing() {
    let script = "(sh -c 'kill -40 $$' &); sleep 1; exec \"$0\" one acct";
    let recording = record(&[], &["sh", "-c", script, PROBE]);
    assert!(recording.status.success(), "{}", recording.stderr);
    recording.profile().assert_rare(["acct"]);
}

/// The filter refuses calls that others have made before, so that no new call shows it.
#[test]
fn a_filter_after_the_last_new_call_is_told() {
    for (mode, told) in [("99", false), ("1", true)] {
        let script = "\"$0\" strict 99; \"$0\" strict $1; true";
        let recording = record(&[], &["sh", "-c", script, PROBE, mode]);
        assert!(recording.status.success(), "{}", recording.stderr);
        let partial = recording.profile().annotation("partial");
        assert_eq!(
            partial.is_some_and(|why| why.contains("seccomp filter")),
            told
        );
    }
}

#[test]
fn an_interruption_ends_the_command_and_the_profile_is_written() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let session = Session::start(&[], &[PROBE, "forever", "acct"]);
        session.wait_until_attached();
        session.wait_for_output("ready");
        session.wait_until_listening();
        session.signal(signal);
        let recording = session.finish();
        assert_eq!(recording.code(), code, "{}", recording.stderr);
        recording.assert_nothing_lost();
        recording.profile().assert_rare(["acct"]);
        assert_eq!(
            recording.profile().annotation("partial"),
            None,
            "the command had ended"
        );
    }
}

#[test]
fn an_interruption_right_at_the_beginning() {
    for _ in 0..sized(8, 3) {
        let session = Session::start(&[], &[PROBE, "forever", "acct"]);
        session.wait_until_attached();
        session.signal(Signal::SIGINT);
        let recording = session.finish();
        assert_eq!(recording.code(), 130, "{}", recording.stderr);
        assert_eq!(recording.profiles.len(), 1, "{}", recording.stderr);
    }
}

#[test]
fn a_timeout_ends_the_command_and_the_profile_is_written() {
    let recording = record(&["--timeout", "1s"], &[PROBE, "forever", "acct"]);
    assert_eq!(recording.code(), 143, "{}", recording.stderr);
    recording.assert_nothing_lost();
    recording.profile().assert_rare(["acct"]);
    assert!(
        recording.time >= Duration::from_millis(900),
        "{:?}",
        recording.time
    );
}

#[test]
fn a_command_that_does_not_end_in_time_goes_on() {
    let recording = record(
        &["--timeout", "1s"],
        &[
            "sh",
            "-c",
            "trap '' TERM; exec \"$0\" forever acct 9",
            PROBE,
        ],
    );
    assert_eq!(recording.code(), 124, "{}", recording.stderr);
    recording.profile().assert_rare(["acct"]);
    let partial = recording.profile().annotation("partial").expect("it tells");
    assert!(
        partial.contains("had not ended") && partial.contains("went on"),
        "{partial}"
    );
}
