//! The tier `cluster`: a cluster of its own, with a node where there can be one, and the tests
//! against it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Counts;
use crate::cluster::{self, ControlPlane, KUBECONFIG, Lifetime, TakenDown, View, binaries, node};
use crate::env::root;
use crate::process;
use crate::setup::needs::{self, Group};
use crate::table::Outcome;

/// What the tests pass over they print, also when they pass.
const ARGS: [&str; 2] = ["--", "--show-output"];

/// The image of `spo` for pods.
const IMAGE: &str = "localhost/spo:test";

/// Runs the crate `spo-cluster-tests` against the cluster that `KUBECONFIG` names, or else against
/// a fresh one, which ends with this process however that ends.
pub(crate) fn run(target: &Path) -> Result<Outcome> {
    let unmet = needs::ensure(&[Group::Base]);
    if !unmet.is_empty() {
        return Ok(Outcome::Skipped(unmet.to_string()));
    }
    let chart = needs::ensure(&[Group::Chart]);
    if !chart.is_empty() {
        eprintln!("some tests are skipped: {chart}");
    }
    let own = ControlPlane::at(target.join("cluster-tests"));
    if let Some(kubeconfig) = cluster::named() {
        eprintln!(
            "{KUBECONFIG} is set: testing against the cluster of {}",
            kubeconfig.display()
        );
        build(target)?;
        let mut said = tests(target, &kubeconfig, Part::ButNode, None)?;
        said.add(tests(target, &kubeconfig, Part::Node, None)?);
        return Ok(said.outcome());
    }
    let binaries = match binaries::find()? {
        Ok(binaries) => binaries,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    // The cluster need not wait while its tests are compiled.
    process::run(cargo_test(target).arg("--no-run"))?;
    build(target)?;
    let _lock = own.lock()?;
    // Most tests reach the server, and are reached by it, at the loopback address.
    let mut logs = Vec::new();
    let mut said = round(&own, &binaries, None, target, Part::ButNode, &mut logs)?;
    match node::possible(&binaries)? {
        Ok(()) => {
            let view = Some(View::default());
            let second = round(&own, &binaries, view, target, Part::Node, &mut logs)?;
            said.add(second);
            said.add(rights(target, &logs)?);
        }
        Err(reason) => {
            eprintln!("skipped: the tests of a node, and of what rights they use: {reason}");
        }
    }
    Ok(said.outcome())
}

/// Which tests to run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Those that need pods.
    Node,
    ButNode,
}

/// The tests that need pods; without a node they pass over themselves.
const NODE_TESTS: [&str; 4] = ["node", "system", "takeover", "uninstall"];
/// What reads the audit logs of all the others.
const RIGHTS: &str = "rights";
/// Where it finds them.
const AUDIT_LOGS: &str = "SPO_AUDIT_LOGS";
/// Names the folder with the ids of processes that are started again when a test has killed them.
const RESTARTED: &str = "SPO_RESTARTED";
/// How often it is looked whether one was killed.
const INTERVAL: Duration = Duration::from_millis(200);

/// What tests said, and whether one failed.
struct Said {
    text: String,
    failure: Option<String>,
}

impl Said {
    fn add(&mut self, other: Self) {
        self.text.push_str(&other.text);
        self.failure = self.failure.take().or(other.failure);
    }

    fn outcome(self) -> Outcome {
        Counts::read(&self.text).outcome(self.failure)
    }
}

/// Runs tests against a fresh cluster, and keeps its audit log.
fn round(
    own: &ControlPlane,
    binaries: &binaries::Binaries,
    node: Option<View>,
    target: &Path,
    part: Part,
    logs: &mut Vec<PathBuf>,
) -> Result<Said> {
    // A run that was killed left its folder.
    own.down()?;
    let taken_down = TakenDown(own.clone());
    taken_down.0.up(binaries, Lifetime::Ours, node)?;
    if node.is_some() {
        taken_down.0.load(&spo(target), IMAGE)?;
    }
    let again = || own.restart(binaries, node);
    let said = restarting(again, || {
        tests(target, &own.kubeconfig(), part, Some(&own.pids()))
    });
    logs.push(own.keep_audit_log(&target.join("cluster-tests.audit"), logs.len())?);
    said
}

/// Works, and meanwhile starts again what ends.
fn restarting<T>(again: impl Fn() -> Result<()> + Send, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // Who started a process must live as long as it is to live, also if the work panics.
        scope.spawn(move || {
            while waiting.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = again() {
                    eprintln!("failed to start again what has ended: {error:#}");
                }
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Holds what accounts did in both rounds against what they may.
fn rights(target: &Path, logs: &[PathBuf]) -> Result<Said> {
    let logs = std::env::join_paths(logs).context("failed to name the audit logs")?;
    let mut command = cargo_test(target);
    command.args(["--test", RIGHTS]).args(ARGS);
    said(command.env(AUDIT_LOGS, logs))
}

fn tests(target: &Path, kubeconfig: &Path, part: Part, restarted: Option<&Path>) -> Result<Said> {
    let mut command = cargo_test(target);
    command.arg("--no-fail-fast");
    match part {
        Part::Node => {
            for name in NODE_TESTS {
                command.args(["--test", name]);
            }
        }
        Part::ButNode => {
            command.arg("--lib");
            let others = programs()?;
            for name in others
                .iter()
                .filter(|name| !NODE_TESTS.contains(&name.as_str()) && *name != RIGHTS)
            {
                command.args(["--test", name]);
            }
        }
    }
    command
        .args(ARGS)
        .env(KUBECONFIG, kubeconfig)
        .env("SPO_BIN", spo(target))
        .env_remove(RESTARTED);
    if let Some(folder) = restarted {
        command.env(RESTARTED, folder);
    }
    said(&mut command)
}

fn said(command: &mut Command) -> Result<Said> {
    let (status, text) = process::tee(command)?;
    let failure = (!status.success()).then(|| format!("cargo test: {status}"));
    Ok(Said { text, failure })
}

/// The test programs: files and folders of `tests/cluster/tests`.
fn programs() -> Result<Vec<String>> {
    let folder = root().join("tests/cluster/tests");
    let context = || format!("failed to read {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if let Some(name) = path.file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn spo(target: &Path) -> PathBuf {
    target.join("debug/spo")
}

/// The binary that tests run: nothing here is recorded, so that it needs no eBPF objects, and a
/// debug build has stubs where they cannot be built.
fn build(target: &Path) -> Result<()> {
    process::run(process::cargo(&root(), target).args([
        "build",
        "--quiet",
        "--package",
        "spo-userspace",
        "--bin",
        "spo",
    ]))
}

fn cargo_test(target: &Path) -> Command {
    let mut command = process::cargo(&root(), target);
    command.args(["test", "--package", "spo-cluster-tests"]);
    command
}
