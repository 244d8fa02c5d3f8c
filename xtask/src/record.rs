//! `record`: from a clone to a profile in one command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Result, anyhow};

use crate::{build, env, process};

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
