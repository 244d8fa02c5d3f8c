//! A container runtime without limits, for a node that sees the cgroup2 hierarchy alone on a machine
//! whose controllers are elsewhere: it takes the limits out of the container's description, and
//! becomes runc or crun.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Runs a runtime in place of this process; returns only if that fails.
pub(super) fn run(program: &Path, args: &[OsString]) -> Result<ExitCode> {
    if let Some(bundle) = bundle(args) {
        let file = bundle.join("config.json");
        let context = || format!("failed to change {}", file.display());
        let text = fs::read_to_string(&file).with_context(context)?;
        let mut config = serde_json::from_str(&text).with_context(context)?;
        without_limits(&mut config);
        fs::write(&file, config.to_string()).with_context(context)?;
    }
    let error = Command::new(program).args(args).exec();
    Err(error).with_context(|| format!("failed to run {}", program.display()))
}

/// The folder of the container that is to be made; the current one if none is named.
fn bundle(args: &[OsString]) -> Option<PathBuf> {
    let makes = |arg: &OsString| arg == "create" || arg == "run";
    args.iter().any(makes).then(|| {
        let mut words = args.iter().map(|arg| arg.to_string_lossy());
        while let Some(word) = words.next() {
            if let Some(folder) = word.strip_prefix("--bundle=") {
                return PathBuf::from(folder);
            }
            if word == "--bundle" || word == "-b" {
                return words.next().unwrap_or_default().into_owned().into();
            }
        }
        PathBuf::from(".")
    })
}

/// Devices need no controller there, but crun fails to limit them where it may not raise the limit
/// of locked memory.
fn without_limits(config: &mut Value) {
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.remove("resources");
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use serde_json::json;

    use super::{bundle, without_limits};

    #[test]
    fn limits_go_and_the_rest_stays() {
        let mut config = json!({ "linux": { "cgroupsPath": "/a", "resources": {
            "devices": [{ "allow": false }], "cpu": { "shares": 2 }, "pids": { "limit": 3 },
        } } });
        without_limits(&mut config);
        assert_eq!(config, json!({ "linux": { "cgroupsPath": "/a" } }));
        let mut other = json!({ "linux": {} });
        without_limits(&mut other);
        assert_eq!(other, json!({ "linux": {} }));
    }

    #[test]
    fn only_a_container_that_is_made_has_a_bundle() {
        let of = |line: &str| {
            let args: Vec<_> = line.split(' ').map(OsString::from).collect();
            bundle(&args)
        };
        let found = Some(PathBuf::from("/b"));
        assert_eq!(of("--root /r create --bundle /b --pid-file p id"), found);
        assert_eq!(of("run -b /b id"), found);
        assert_eq!(of("create --bundle=/b id"), found);
        assert_eq!(of("create id"), Some(PathBuf::from(".")));
        assert_eq!(of("--root /r exec --process p id"), None);
    }
}
