//! `bench`: what spo costs.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};

use crate::env::{self, Privilege};
use crate::{build, process};

const PROGRAM: &str = "bench-record";

/// Builds what measures reading and merging profiles, and runs it. It loads no eBPF programs, so
/// that it is built without them.
pub(crate) fn profiles(args: Vec<OsString>) -> Result<ExitCode> {
    let target = env::target_dir()?;
    let mut command = process::cargo(&env::root(), &target);
    command
        .args(["bench", "--quiet", "--package", "spo-userspace"])
        .args(["--bench", "profiles", "--"])
        .args(args)
        .env("SPO_EBPF", "skip");
    let line = process::line(&command);
    Err(anyhow!(command.exec()).context(format!("failed to run {line}")))
}

/// Builds the measuring program, and becomes it, as root.
pub(crate) fn record(args: Vec<OsString>) -> Result<ExitCode> {
    let target = env::target_dir()?;
    let spo = build::release(&target)?;
    process::run(process::cargo(&env::root(), &target).args([
        "build",
        "--release",
        "--quiet",
        "--package",
        "spo-kernel-tests",
        "--bin",
        PROGRAM,
    ]))?;
    let program = target.join("release").join(PROGRAM);
    let privilege = Privilege::find();
    if privilege == Privilege::None {
        bail!("measuring needs root: run sudo {}", program.display());
    }
    let mut command = privilege.command(&program);
    command.args(args).env("SPO_BIN", spo);
    let line = process::line(&command);
    Err(anyhow!(process::without_cargo(&mut command).exec())
        .context(format!("failed to run {line}")))
}
