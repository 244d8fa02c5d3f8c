//! `record`: from a clone to a profile in one command. `record-own`: those of our own processes.
//! `record-library`: those of common servers.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;

use crate::cluster::{self, KUBECONFIG};
use crate::{build, codegen, env, process, tiers};

/// A process of ours that has a profile of its own.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Own {
    Daemon,
    BpfRecorder,
}

impl Own {
    /// What it was seen to call.
    fn file(self) -> &'static str {
        match self {
            Self::Daemon => "deploy/profiles/recorded.yaml",
            Self::BpfRecorder => "deploy/profiles/recorded-bpf-recorder.yaml",
        }
    }

    /// What has it do all that it can do: the program, the test, and the variable for the file.
    fn test(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Daemon => (
                "daemon",
                "profile::the_daemons_own_profile_has_all_that_it_does",
                "SPO_RECORD_DAEMON",
            ),
            Self::BpfRecorder => (
                "system",
                "own_profile::it_has_all_that_the_recorder_does",
                "SPO_RECORD_RECORDER",
            ),
        }
    }
}

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

/// Records a process of ours while a test has it do all that it can do, and writes its profile anew.
pub(crate) fn own(which: Own) -> Result<ExitCode> {
    ensure_root()?;
    let target = env::target_dir()?;
    let spo = build::release(&target)?;
    let file = env::root().join(which.file());
    let record = |kubeconfig: &Path| {
        let (program, test, variable) = which.test();
        let mut command = test_of(&target, &spo, kubeconfig, program, test);
        process::run(command.env(variable, &file))
    };
    match which {
        Own::Daemon => cluster::fresh("record-own", record),
        Own::BpfRecorder => {
            let images = [(spo.as_path(), cluster::IMAGE)];
            cluster::fresh_with_node("record-own", &images, record)
        }
    }?;
    println!("{}", file.display());
    codegen::deploy()?;
    Ok(ExitCode::SUCCESS)
}

/// Records the servers of `deploy/library` while a test has them do all that they can do, and writes their
/// profiles anew.
pub(crate) fn library() -> Result<ExitCode> {
    ensure_root()?;
    let target = env::target_dir()?;
    let spo = tiers::cluster::build(&target)?;
    let images = [(spo.as_path(), cluster::IMAGE)];
    cluster::fresh_with_servers("record-library", &images, |kubeconfig| {
        let test = "library::servers_run_under_the_profiles_of_the_library";
        let mut command = test_of(&target, &spo, kubeconfig, "system", test);
        process::run(command.env("SPO_RECORD_LIBRARY", "1"))
    })?;
    println!("{}", env::root().join("deploy/library").display());
    Ok(ExitCode::SUCCESS)
}

fn ensure_root() -> Result<()> {
    if !env::is_root() {
        bail!("recording needs root: run this command as root");
    }
    Ok(())
}

/// A test against a cluster of its own.
fn test_of(target: &Path, spo: &Path, kubeconfig: &Path, program: &str, test: &str) -> Command {
    let mut command = process::cargo(&env::root(), target);
    command
        .args(["test", "--package", "spo-cluster-tests", "--test", program])
        .args(["--", "--exact", test])
        .env(KUBECONFIG, kubeconfig)
        .env(cluster::RESTARTED, kubeconfig.with_file_name("pids"))
        .env("SPO_BIN", spo);
    command
}
