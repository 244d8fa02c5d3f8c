//! The tier `cluster`: a cluster of its own, with a node where there can be one, and the tests
//! against it.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::outcome;
use crate::cluster::{
    self, ControlPlane, IMAGE, KUBECONFIG, Lifetime, RESTARTED, TakenDown, View, binaries, node,
};
use crate::env::root;
use crate::process;
use crate::setup;
use crate::setup::needs::{self, Group};
use crate::table::Outcome;

/// What the tests pass over they print, also when they pass.
const ARGS: [&str; 2] = ["--", "--show-output"];

/// Runs the crate `spo-cluster-tests` against the cluster that `KUBECONFIG` names, or else against
/// fresh ones, which end with this process however that ends.
pub(crate) fn run(target: &Path) -> Result<Outcome> {
    let unmet = needs::ensure(&[Group::Base]);
    if !unmet.is_empty() {
        return Ok(Outcome::Skipped(unmet.to_string()));
    }
    let oracles = needs::ensure(&[Group::ClusterOracle]);
    if !oracles.is_empty() {
        eprintln!("some tests are skipped: {oracles}");
    }
    if let Some(kubeconfig) = cluster::named() {
        eprintln!(
            "{KUBECONFIG} is set: testing against the cluster of {}",
            kubeconfig.display()
        );
        build(target)?;
        let rounds = iter::once(Round::others()?).chain(Round::of_nodes());
        let said: Result<Vec<_>> = rounds
            .map(|round| round.tests(target, &kubeconfig, None))
            .collect();
        let sum = said?.into_iter().reduce(Said::and).context("no tests")?;
        return Ok(sum.outcome());
    }
    let binaries = match binaries::find()? {
        Ok(binaries) => binaries,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    // Clusters need not wait while their tests are compiled.
    process::run(cargo_test(target).arg("--no-run"))?;
    build(target)?;
    let audit = target.join("cluster-tests.audit");
    fs::remove_dir_all(&audit).ok();
    let mut rounds = vec![Round::others()?];
    let without_node = node::possible(&binaries)?.err();
    if without_node.is_none() {
        rounds.extend(Round::of_nodes());
    }
    let said = at_once(&rounds, |round| round.run(&binaries, target, &audit))?;
    let mut sum = said.into_iter().reduce(Said::and).context("no tests")?;
    match without_node {
        None => {
            let logs: Vec<_> = rounds.iter().map(|round| round.audit_log(&audit)).collect();
            sum = sum.and(rights(target, &logs)?);
        }
        Some(reason) => {
            eprintln!("skipped: the tests of a node, and of what rights they use: {reason}");
        }
    }
    Ok(sum.outcome())
}

/// What reads the audit logs of all the others.
const RIGHTS: &str = "rights";
/// Where it finds them.
const AUDIT_LOGS: &str = "SPO_AUDIT_LOGS";
/// How often it is looked whether one was killed.
const INTERVAL: Duration = Duration::from_millis(200);

/// What tests said, and whether one failed.
struct Said {
    text: String,
    failure: Option<String>,
}

impl Said {
    fn and(mut self, other: Self) -> Self {
        self.text.push_str(&other.text);
        self.failure = self.failure.or(other.failure);
        self
    }

    fn outcome(self) -> Outcome {
        outcome(&self.text, self.failure)
    }
}

/// Test programs that share a cluster, one after the other. They wait for the cluster most of the
/// time, so that all rounds run at once.
struct Round {
    name: &'static str,
    programs: Vec<String>,
    /// Whether there is to be a node.
    node: bool,
}

/// The tests that need pods; without a node they pass over themselves.
const OF_NODES: [(&str, &[&str]); 3] = [
    ("system", &["node", "system"]),
    ("takeover", &["takeover"]),
    ("uninstall", &["uninstall"]),
];

impl Round {
    /// All that need no pod. Most of these reach the server, and are reached by it, at the loopback
    /// address.
    fn others() -> Result<Self> {
        let mut programs = programs()?;
        let of_nodes: Vec<_> = OF_NODES.iter().flat_map(|(_, names)| *names).collect();
        programs.retain(|name| !of_nodes.contains(&&name.as_str()) && name != RIGHTS);
        Ok(Self {
            name: "others",
            programs,
            node: false,
        })
    }

    fn of_nodes() -> impl Iterator<Item = Self> {
        OF_NODES.iter().map(|(name, programs)| Self {
            name,
            programs: programs.iter().map(|name| (*name).to_owned()).collect(),
            node: true,
        })
    }

    /// Runs its tests against a fresh cluster, and keeps that one's audit log.
    fn run(&self, binaries: &binaries::Binaries, target: &Path, audit: &Path) -> Result<Said> {
        let own = ControlPlane::at(target.join(format!("cluster-tests-{}", self.name)));
        let _lock = own.lock()?;
        // A run that was killed left its folder.
        own.down()?;
        let taken_down = TakenDown(own.clone());
        let node = self.node.then(View::default);
        taken_down.0.up(binaries, Lifetime::Ours, node)?;
        if self.node {
            taken_down.0.load(&spo(target), IMAGE)?;
        }
        if self.programs.iter().any(|name| name == "system")
            && let Err(error) = taken_down.0.load_servers()
        {
            eprintln!("the library of profiles is not tested: {error:#}");
        }
        let again = || own.restart(binaries, node);
        let said = restarting(again, || {
            self.tests(target, &own.kubeconfig(), Some(&own.pids()))
        });
        own.keep_audit_log(&self.audit_log(audit))?;
        said
    }

    fn audit_log(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.log", self.name))
    }

    fn tests(&self, target: &Path, kubeconfig: &Path, restarted: Option<&Path>) -> Result<Said> {
        let mut command = cargo_test(target);
        command.arg("--no-fail-fast");
        if !self.node {
            command.arg("--lib");
        }
        for program in &self.programs {
            command.args(["--test", program]);
        }
        command
            .args(ARGS)
            .env(KUBECONFIG, kubeconfig)
            .env("SPO_BIN", spo(target))
            .env_remove(RESTARTED);
        if let Some(folder) = restarted {
            command.env(RESTARTED, folder);
        }
        said(&mut command, self.name)
    }
}

/// Runs all rounds, whatever becomes of one, and returns what each said.
fn at_once(rounds: &[Round], run: impl Fn(&Round) -> Result<Said> + Sync) -> Result<Vec<Said>> {
    thread::scope(|scope| {
        let run = &run;
        // Each of them starts the processes of its cluster, which end with it.
        let threads: Vec<_> = rounds
            .iter()
            .map(|round| scope.spawn(move || run(round)))
            .collect();
        let ended: Vec<_> = threads
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        let said = ended
            .into_iter()
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        said.collect()
    })
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

/// Holds what accounts did in all rounds against what they may.
fn rights(target: &Path, logs: &[PathBuf]) -> Result<Said> {
    let logs = std::env::join_paths(logs).context("failed to name the audit logs")?;
    let mut command = cargo_test(target);
    command.args(["--test", RIGHTS]).args(ARGS);
    said(command.env(AUDIT_LOGS, logs), RIGHTS)
}

/// Runs them, with the name of the round before each line.
fn said(command: &mut Command, round: &str) -> Result<Said> {
    let (status, text) = process::tee_after(&format!("{round:10}| "), command)?;
    let failure = (!status.success()).then(|| format!("{round}: cargo test: {status}"));
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

/// The binary that tests run. It has the eBPF objects where they can be built; elsewhere a debug build
/// has stubs, and tests that record fail.
pub(crate) fn build(target: &Path) -> Result<PathBuf> {
    let unmet = setup::for_building()?;
    if !unmet.is_empty() {
        eprintln!("nothing can be recorded: {unmet}");
    }
    process::run(process::cargo(&root(), target).args([
        "build",
        "--quiet",
        "--package",
        "spo-userspace",
        "--bin",
        "spo",
    ]))?;
    Ok(spo(target))
}

fn cargo_test(target: &Path) -> Command {
    let mut command = process::cargo(&root(), target);
    command.args(["test", "--package", "spo-cluster-tests"]);
    command
}
