//! `record`: from a clone to a profile in one command. `record-daemon`: our own daemon's.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Result, anyhow, bail};

use crate::cluster::{self, KUBECONFIG};
use crate::{build, codegen, env, process};

/// What the daemon was seen to call.
const RECORDED: &str = "deploy/profiles/recorded.yaml";
/// Has it do all that it can do.
const TEST: &str = "profile::the_daemons_own_profile_has_all_that_it_does";

/// Builds, and becomes `spo record` with these arguments; recording needs root.
pub(crate) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let binary = build::release(&env::target_dir()?)?;
    let mut command = if env::is_root() || env::which("sudo").is_none() {
        Command::new(&binary)
    } else {
        // This one may ask for a password: somebody has typed the command.
        let mut command = Command::new("sudo");
        command.arg("-E").arg(&binary);
        command
    };
    command.arg("record").args(args);
    let line = process::line(&command);
    Err(anyhow!(process::without_cargo(&mut command).exec())
        .context(format!("failed to run {line}")))
}

/// Records the daemon while a test has it do all that it can do, and writes its profile anew.
pub(crate) fn daemon() -> Result<ExitCode> {
    if !env::is_root() {
        bail!("recording needs root: run cargo xtask record-daemon as root");
    }
    let target = env::target_dir()?;
    let spo = build::release(&target)?;
    let file = env::root().join(RECORDED);
    cluster::fresh("record-daemon", |kubeconfig| {
        process::run(
            process::cargo(&env::root(), &target)
                .args(["test", "--package", "spo-cluster-tests", "--test", "daemon"])
                .args(["--", "--exact", TEST])
                .env(KUBECONFIG, kubeconfig)
                .env("SPO_BIN", spo)
                .env("SPO_RECORD_DAEMON", &file),
        )
    })?;
    println!("{}", file.display());
    codegen::deploy()?;
    Ok(ExitCode::SUCCESS)
}
