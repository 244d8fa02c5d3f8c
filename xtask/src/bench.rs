//! `bench`: what spo costs.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::cluster::{self, KUBECONFIG};
use crate::env::{self, Privilege};
use crate::{build, process};

const PROGRAM: &str = "bench-record";
const OPERATOR: &str = "bench-operator";
const ADMISSION: &str = "bench-admission";
const RECORDING: &str = "bench-recording";

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
    let program = measuring(&target, "spo-kernel-tests", PROGRAM)?;
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

/// What operator, daemon and webhook cost.
pub(crate) fn operator(args: Vec<OsString>) -> Result<ExitCode> {
    on_control_plane(OPERATOR, args)
}

/// What a pod waits for the webhook that binds it.
pub(crate) fn admission(args: Vec<OsString>) -> Result<ExitCode> {
    on_control_plane(ADMISSION, args)
}

/// Builds a measuring program, and runs it against a control plane that nobody else uses.
fn on_control_plane(name: &str, args: Vec<OsString>) -> Result<ExitCode> {
    let target = env::target_dir()?;
    let spo = build::release(&target)?;
    let program = measuring(&target, "spo-cluster-tests", name)?;
    cluster::fresh(name, |kubeconfig| {
        measured(
            Command::new(&program).args(args).env("SPO_BIN", spo),
            kubeconfig,
        )
    })
}

/// Builds the measuring program, and runs it against a cluster that nobody else uses, with a node.
pub(crate) fn recording(args: Vec<OsString>) -> Result<ExitCode> {
    let redis = ["redis-server", "redis-benchmark"].map(env::which);
    let [Some(server), Some(client)] = &redis else {
        bail!("what is measured is Redis: install redis-server and redis-benchmark");
    };
    let target = env::target_dir()?;
    let spo = build::release(&target)?;
    let program = measuring(&target, "spo-cluster-tests", RECORDING)?;
    let images = [
        (spo.as_path(), cluster::IMAGE),
        (server.as_path(), "localhost/redis:test"),
    ];
    cluster::fresh_with_node(RECORDING, &images, |kubeconfig| {
        measured(
            Command::new(&program)
                .args(args)
                .env("REDIS_BENCHMARK", client),
            kubeconfig,
        )
    })
}

/// Runs a program that measures against a cluster.
fn measured(command: &mut Command, kubeconfig: &Path) -> Result<ExitCode> {
    command.env(KUBECONFIG, kubeconfig);
    let status = process::without_cargo(command).status();
    let status = status.with_context(|| format!("failed to run {}", process::line(command)))?;
    // It has said why.
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds a program that measures.
fn measuring(target: &Path, package: &str, program: &str) -> Result<PathBuf> {
    process::run(process::cargo(&env::root(), target).args([
        "build",
        "--release",
        "--quiet",
        "--package",
        package,
        "--bin",
        program,
    ]))?;
    Ok(target.join("release").join(program))
}
