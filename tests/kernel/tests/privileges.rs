//! What each verb needs, and that it needs no more.

use std::process::Command;

use spo_kernel_tests::spo::{Finished, binary};
use spo_kernel_tests::tier;

/// Runs `spo` as root with these capabilities and no others.
fn with(capabilities: &[&str], arguments: &[&str]) -> Finished {
    let folder = tempfile::tempdir().expect("a folder");
    let bounding = capabilities
        .iter()
        .fold("-all".to_owned(), |all, name| format!("{all},+{name}"));
    let child = Command::new("setpriv")
        .args(["--inh-caps=-all", &format!("--bounding-set={bounding}")])
        .arg(binary())
        .args(arguments)
        .env_remove("SUDO_UID")
        .current_dir(&folder)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("setpriv runs");
    Finished::of(child)
}

#[test]
fn two_capabilities_record_a_command() {
    if tier::has("two_capabilities_record_a_command", &["setpriv"]) {
        let finished = with(
            &["bpf", "perfmon"],
            &["record", "-n", "-o", "-", "--", "true"],
        );
        assert!(finished.status.success(), "{}", finished.stderr);
        assert!(
            finished.stdout.contains("- exit_group"),
            "{}",
            finished.stdout
        );
    }
}

#[test]
fn two_capabilities_name_a_denied_call() {
    if tier::has("two_capabilities_name_a_denied_call", &["setpriv"]) {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = folder.path().join("profile.json");
        let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["uname"], "action": "SCMP_ACT_ERRNO" }] }"#;
        std::fs::write(&profile, text).expect("the profile can be written");
        let finished = with(
            &["bpf", "perfmon"],
            &["run", "-p", &profile.display().to_string(), "--", "uname"],
        );
        assert!(finished.denied().contains("uname"), "{}", finished.stderr);
    }
}

#[test]
fn what_is_missing_is_named() {
    if tier::has("what_is_missing_is_named", &["setpriv"]) {
        for (given, missing) in [(["bpf"], "CAP_PERFMON"), (["perfmon"], "CAP_BPF")] {
            let finished = with(&given, &["record", "-o", "-", "--", "true"]);
            assert_eq!(finished.status.code(), Some(125), "{}", finished.stderr);
            assert!(
                finished.stderr.contains(&format!("{missing} missing")),
                "{}",
                finished.stderr
            );
            assert!(
                !finished
                    .stderr
                    .contains(&format!("CAP_{} ", given[0].to_uppercase())),
                "{}",
                finished.stderr
            );
        }
    }
}

#[test]
fn two_capabilities_read_filters() {
    if tier::has("two_capabilities_read_filters", &["setpriv"]) {
        let finished = with(&["bpf", "perfmon"], &["doctor", "-o", "json"]);
        let findings: serde_json::Value =
            serde_json::from_str(&finished.stdout).expect("it tells JSON");
        let all = findings.as_array().expect("a list");
        let filters = all.iter().find(|one| one["check"] == "verify filters");
        let filters = filters.expect("it is asked");
        assert_eq!(filters["ok"], true, "{filters:#}");
    }
}
