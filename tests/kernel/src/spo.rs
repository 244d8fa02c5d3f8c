//! The binary under test.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

/// The release binary that the environment names.
pub fn binary() -> PathBuf {
    std::env::var_os("SPO_BIN")
        .expect("SPO_BIN names the binary: run `cargo xtask test host`")
        .into()
}

/// A command of `spo` with these arguments.
pub fn command<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Started under sudo, the tests are root's all the same.
    command.env_remove("SUDO_UID");
    command
}

/// What a command left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Waits for a command whose output is piped.
    pub fn of(mut child: Child) -> Self {
        let mut error = child.stderr.take().expect("standard error is piped");
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            error
                .read_to_end(&mut text)
                .expect("standard error can be read");
            text
        });
        let mut stdout = Vec::new();
        child
            .stdout
            .take()
            .expect("standard output is piped")
            .read_to_end(&mut stdout)
            .expect("standard output can be read");
        let stderr = reader.join().expect("the reader ends");
        Self {
            status: child.wait().expect("the command can be waited for"),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// The calls that `spo run` says were denied.
    pub fn denied(&self) -> BTreeSet<String> {
        self.stderr
            .lines()
            // The program's own output may stand on the same line.
            .filter_map(|line| line.split_once("spo: denied ")?.1.split(' ').next())
            .map(str::to_owned)
            .collect()
    }
}

/// The names that a raw profile allows.
pub fn allowed(profile: &Path) -> BTreeSet<String> {
    let value = read(profile);
    let rules = value["syscalls"].as_array().expect("a profile has rules");
    rules
        .iter()
        .flat_map(|rule| strings(&rule["names"]))
        .collect()
}

/// The architectures of a raw profile.
pub fn architectures(profile: &Path) -> BTreeSet<String> {
    strings(&read(profile)["architectures"])
        .into_iter()
        .collect()
}

/// Writes a raw profile that allows some names and answers all others with EPERM.
pub fn write_profile(path: &Path, names: &BTreeSet<String>, architectures: &BTreeSet<String>) {
    let profile = serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": architectures,
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
    });
    std::fs::write(path, profile.to_string()).expect("the profile can be written");
}

fn read(profile: &Path) -> Value {
    let text = std::fs::read_to_string(profile).expect("there is a profile");
    serde_json::from_str(&text).expect("the profile is JSON")
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .expect("an array")
        .iter()
        .map(|name| name.as_str().expect("a text").to_owned())
        .collect()
}
