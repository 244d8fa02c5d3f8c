//! The test programs of the crate `spo-kernel-tests`, for the tiers `host` and `vm`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::env::root;
use crate::{build, process};

/// Tests that load programs into the kernel share it; what they print says what they left out.
pub(super) const ARGS: [&str; 2] = ["--test-threads=1", "--show-output"];

/// What both tiers run, built in the release profile.
#[derive(Debug)]
pub(super) struct KernelTests {
    pub(super) spo: PathBuf,
    /// The test programs.
    pub(super) tests: Vec<PathBuf>,
    /// Other programs of the crate, which tests may start.
    pub(super) helpers: Vec<PathBuf>,
}

/// A line of `cargo --message-format=json`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    package_id: Option<String>,
    profile: Option<Profile>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

impl KernelTests {
    pub(super) fn build(target: &Path) -> Result<Self> {
        let spo = build::release(target)?;
        let mut command = process::cargo(&root(), target);
        command.args([
            "test",
            "--release",
            "--quiet",
            "--package",
            "spo-kernel-tests",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ]);
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .context("failed to run cargo")?;
        if !output.status.success() {
            bail!("{} failed: {}", process::line(&command), output.status);
        }
        let (tests, helpers) = executables(&String::from_utf8_lossy(&output.stdout))?;
        Ok(Self {
            spo,
            tests,
            helpers,
        })
    }

    /// What the tests read from their environment.
    pub(super) fn variables(&self, tier: &str) -> [(String, String); 2] {
        [
            (
                "SPO_BIN".to_owned(),
                self.spo.to_string_lossy().into_owned(),
            ),
            ("SPO_TEST_TIER".to_owned(), tier.to_owned()),
        ]
    }

    /// Where cargo would run the tests.
    pub(super) fn directory() -> PathBuf {
        root().join("tests/kernel")
    }
}

/// The test programs and the other programs of the crate.
fn executables(messages: &str) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut tests, mut others) = (Vec::new(), Vec::new());
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line)
            .with_context(|| format!("failed to read a message of cargo: {line}"))?;
        let Message {
            executable: Some(executable),
            package_id: Some(package),
            profile: Some(profile),
        } = message
        else {
            continue;
        };
        if package.contains("spo-kernel-tests") || package.contains("/tests/kernel#") {
            if profile.test {
                &mut tests
            } else {
                &mut others
            }
            .push(executable);
        }
    }
    Ok((tests, others))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::executables;

    #[test]
    fn tells_tests_from_other_programs() {
        let messages = r#"{"reason":"compiler-artifact","package_id":"registry+x#libc@1","executable":null,"profile":{"test":false}}
{"reason":"build-script-executed","package_id":"registry+x#libc@1"}
{"reason":"compiler-artifact","package_id":"path+file:///w/tests/kernel#spo-kernel-tests@0.1.0","executable":"/t/probe","profile":{"test":false}}
{"reason":"compiler-artifact","package_id":"path+file:///w/tests/kernel#spo-kernel-tests@0.1.0","executable":"/t/kernel-1","profile":{"test":true}}
{"reason":"build-finished","success":true}"#;
        let (tests, others) = executables(messages).unwrap();
        assert_eq!(tests, [PathBuf::from("/t/kernel-1")]);
        assert_eq!(others, [PathBuf::from("/t/probe")]);
        assert!(executables("no json").is_err());
    }
}
