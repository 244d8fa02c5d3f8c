//! One program that calls by all ABIs.

use std::collections::BTreeSet;

use super::recording::{PROBE, complete};

#[test]
fn abis_are_told_apart_and_named_from_their_own_tables() {
    let recording = complete(&[PROBE, "abis", "fsync", "tee"]);
    let profile = recording.profile();
    profile.assert_rare(["fsync", "tee"]);
    let architectures: BTreeSet<&str> = profile.architectures.iter().map(String::as_str).collect();
    assert_eq!(
        architectures,
        BTreeSet::from(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    );
    let compat = [
        "oldstat",
        "oldolduname",
        "socketcall",
        "ipc",
        "ugetrlimit",
        "clock_getres_time64",
    ];
    let x32 = ["sched_get_priority_min", "move_pages"];
    for name in compat.iter().chain(&x32) {
        assert!(
            profile.names.contains(*name),
            "{name} is missing in {:?}",
            profile.names
        );
    }
    // What the numbers mean in the other tables.
    for name in ["pwrite64", "getuid", "setresuid", "getxattr", "getsid"] {
        assert!(!profile.names.contains(name), "{name} was not called");
    }
    assert_unnamed(
        &recording.stderr,
        &[
            ("9999 (x86_64)", Some(3)),
            ("-1 (x86_64)", Some(2)),
            ("7777 (x86)", Some(2)),
            ("-1 (x86)", Some(1)),
            ("8888 (x32)", Some(2)),
        ],
    );
    let annotation = profile.annotation("unnamed").expect("it names the numbers");
    assert_eq!(annotation.split(", ").count(), 5, "{annotation}");
}

#[test]
fn a_program_with_native_calls_only_is_of_one_architecture() {
    let recording = complete(&[
        PROBE,
        "numbers",
        "9999",
        "-1",
        "-1",
        "1023",
        "1024",
        "-2147483648",
    ]);
    let profile = recording.profile();
    assert_eq!(
        profile.architectures,
        BTreeSet::from(["SCMP_ARCH_X86_64".to_owned()])
    );
    assert_unnamed(
        &recording.stderr,
        &[
            ("9999 (x86_64)", Some(1)),
            ("-1 (x86_64)", Some(2)),
            // It has a place in the set, which does not count.
            ("1023 (x86_64)", None),
            ("1024 (x86_64)", Some(1)),
            ("-2147483648 (x86_64)", Some(1)),
        ],
    );
}

/// The numbers that the summary has no names for are these.
fn assert_unnamed(stderr: &str, expected: &[(&str, Option<u32>)]) {
    let found: BTreeSet<&str> = stderr
        .lines()
        .filter_map(|line| line.trim().strip_prefix("not in the profile: "))
        .collect();
    let expected: BTreeSet<String> = expected
        .iter()
        .map(|(number, times)| {
            let times = times.map_or(String::new(), |times| {
                let plural = if times == 1 { "" } else { "s" };
                format!(" (called {times} time{plural})")
            });
            format!("number {number}, which has no name{times}")
        })
        .collect();
    assert_eq!(found, expected.iter().map(String::as_str).collect());
}
