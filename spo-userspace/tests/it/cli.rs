//! The command line where it needs no privileges: bad input, exit codes, generated texts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

const SPO: &str = env!("CARGO_BIN_EXE_spo");

fn run(program: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program).args(arguments).output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is text");
    (status.code(), text(stdout), text(stderr))
}

/// The exit code, and a part of what stands on standard error.
fn check(arguments: &[&str], code: i32, told: &str) {
    let (status, _, stderr) = run(Path::new(SPO), arguments);
    assert_eq!(status, Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(told), "{arguments:?}: {stderr}");
}

#[test]
fn wrong_command_lines_are_explained() {
    check(&["record"], 2, "nothing to record");
    check(
        &["record", "--pid", "1", "--container", "ab"],
        2,
        "--pid and --container exclude each other",
    );
    check(
        &["record", "--pid", "1", "--", "true"],
        2,
        "--pid and a command",
    );
    check(&["record", "--pid", "0"], 2, "invalid value '0'");
    check(&["record", "--new-containers"], 2, "COMMAND");
    check(
        &["record", "-b", "opennat", "--", "true"],
        2,
        "did you mean `openat`?",
    );
    check(
        &["record", "--timeout", "soon", "--", "true"],
        2,
        "write it as 90, 90s",
    );
    check(
        &["record", "--timeout", "9223372036854775807", "--", "true"],
        2,
        "no more than a year",
    );
    check(
        &["record", "-n", "-b", "read", "--", "true"],
        2,
        "cannot be used with",
    );
}

#[test]
fn what_is_not_there_yet_says_so() {
    for kind in ["apparmor", "raw-apparmor", "selinux", "all"] {
        check(
            &["record", "-t", kind, "--", "true"],
            125,
            "cannot be recorded yet",
        );
    }
}

#[test]
fn missing_commands_have_the_codes_of_a_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("profile.yaml").display().to_string();
    check(
        &["record", "-o", &output, "--", "no-such-program"],
        127,
        "no-such-program: command not found",
    );
    check(
        &["record", "-o", &output, "--", "/etc/passwd"],
        126,
        "/etc/passwd: cannot be executed",
    );
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
}

#[test]
fn an_output_that_cannot_be_written_is_refused_first() {
    check(
        &["record", "-o", "/no/such/folder/p.yaml", "--", "true"],
        125,
        "cannot write /no/such/folder/p.yaml",
    );
}

#[test]
fn hostile_names_are_escaped() {
    let (_, _, stderr) = run(Path::new(SPO), &["record", "-o", "-", "--", "\x1b[31mred"]);
    assert!(stderr.contains("\\u{1b}[31mred"), "{stderr:?}");
}

#[test]
fn a_malformed_profile_is_shown_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("profile.json");
    fs::write(&profile, "{\n  \"defaultAction\": \"SCMP_ACT_ALOW\"\n}\n").expect("a profile");
    let profile = profile.display().to_string();
    let place = format!("{profile}:2:20");
    check(&["run", "-p", &profile, "--", "true"], 125, &place);
    check(
        &["run", "-p", &profile, "--", "true"],
        125,
        "did you mean `SCMP_ACT_ALLOW`?",
    );
    check(
        &["run", "-p", "/no/such/profile", "--", "true"],
        125,
        "failed to read the profile /no/such/profile",
    );
}

#[test]
fn generated_texts_name_every_verb_but_the_hidden_one() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (status, script, _) = run(Path::new(SPO), &["completions", shell]);
        assert_eq!(status, Some(0));
        for verb in [
            "record", "run", "doctor", "check", "merge", "convert", "diff",
        ] {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
        assert!(!script.contains("__hold"), "{shell}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (status, _, stderr) = run(
        Path::new(SPO),
        &["man", &folder.path().display().to_string()],
    );
    assert_eq!(status, Some(0), "{stderr}");
    assert!(folder.path().join("spo-record.1").exists());
    check(&["man", "/no/such/folder"], 1, "/no/such/folder");
}

#[test]
fn doctor_answers_programs() {
    let (status, stdout, _) = run(Path::new(SPO), &["doctor", "-o", "json"]);
    let findings: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let findings = findings.as_array().expect("a list");
    let all_well = findings.iter().all(|finding| finding["ok"] == true);
    assert_eq!(status, Some(i32::from(!all_well)));
    for finding in findings {
        assert_eq!(
            finding["ok"] == true,
            finding.get("fix").is_none(),
            "{finding}"
        );
    }
}

#[test]
fn under_the_reference_s_name_its_command_line_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let spoc = folder.path().join("spoc");
    symlink(SPO, &spoc).expect("a link");
    let (status, stdout, _) = run(&spoc, &["version"]);
    assert_eq!(status, Some(0));
    assert!(stdout.starts_with("spoc "), "{stdout}");
    for verb in ["record", "run"] {
        let (_, help, _) = run(&spoc, &[verb, "--help"]);
        assert!(help.contains("/tmp/profile.yaml"), "{help}");
    }
    for alias in ["r", "record"] {
        let (status, _, stderr) = run(&spoc, &[alias, "-t", "apparmor", "ls"]);
        assert_eq!(status, Some(125), "{stderr}");
        let output = folder.path().join("profile.yaml").display().to_string();
        let (status, _, stderr) = run(
            &spoc,
            &[alias, "-n", "-o", &output, "no-such-program", "-n"],
        );
        assert_eq!(status, Some(127), "{stderr}");
    }
    for verb in ["install", "i", "remove", "rm", "push", "p", "pull", "l"] {
        let (status, _, stderr) = run(&spoc, &[verb, "-o", "file", "input"]);
        assert_eq!(status, Some(1), "{verb}: {stderr}");
        assert!(stderr.contains("not there yet"), "{verb}: {stderr}");
    }
}
