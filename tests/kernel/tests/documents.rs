//! The scripts of the documents.

use std::process::{Command, Output, Stdio};

use spo_kernel_tests::spo::binary;

const SCRIPT: &str = include_str!("../../../docs/examples/profile-in-ci.sh");

/// Runs the script in a folder that has the profile `committed.yaml`.
fn in_ci(folder: &tempfile::TempDir, command: &[&str]) -> (Option<i32>, String) {
    let script = folder.path().join("profile-in-ci.sh");
    std::fs::write(&script, SCRIPT).expect("the script can be written");
    let output = Command::new("sh")
        .arg(&script)
        .args(["committed.yaml", "--"])
        .args(command)
        .env("SPO", binary())
        .env_remove("SUDO_UID")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    let Output { status, stderr, .. } = output.expect("the script runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_profile_in_continuous_integration() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorded = Command::new(binary())
        .args(["record", "-o", "committed.yaml", "--", "sh", "-c", "true"])
        .env_remove("SUDO_UID")
        .current_dir(&folder)
        .stderr(Stdio::null())
        .status();
    assert!(recorded.expect("spo runs").success());
    let (code, told) = in_ci(&folder, &["sh", "-c", "true"]);
    assert_eq!(code, Some(0), "{told}");
    // Another call than those of an empty script and of runtimes.
    let probe = env!("CARGO_BIN_EXE_probe");
    let (code, told) = in_ci(&folder, &["sh", "-c", "exec \"$0\" one acct", probe]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("acct: SCMP_ACT_ERRNO -> SCMP_ACT_ALLOW"),
        "{told}"
    );
    let wider = std::fs::read_to_string(folder.path().join("committed.yaml.new"));
    assert!(wider.expect("a wider profile").contains("- acct\n"));
    let (code, _) = in_ci(&folder, &["sh", "-c", "exit 7"]);
    assert_eq!(code, Some(7));
    // A profile that no recording can be merged with.
    let committed = folder.path().join("committed.yaml");
    let other = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: AppArmorProfile\n\
                 metadata:\n  name: x\nspec:\n  abstract: {}\n";
    std::fs::write(&committed, other).expect("the profile can be written");
    let (code, told) = in_ci(&folder, &["sh", "-c", "true"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("cannot be compared"), "{told}");
}
