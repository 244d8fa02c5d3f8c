//! The tier `cluster`: a cluster of its own, with a node where there can be one, and the tests
//! against it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Counts;
use crate::cluster::{self, ControlPlane, KUBECONFIG, Lifetime, View, binaries, node};
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
        return tests(target, &kubeconfig);
    }
    let binaries = match binaries::find()? {
        Ok(binaries) => binaries,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    // The cluster need not wait while its tests are compiled.
    process::run(cargo_test(target).arg("--no-run"))?;
    build(target)?;
    let node = match node::possible(&binaries)? {
        Ok(()) => Some(View::default()),
        Err(reason) => {
            eprintln!("the cluster has no node: {reason}");
            None
        }
    };
    let _lock = own.lock()?;
    // A run that was killed left its folder.
    own.down()?;
    let taken_down = TakenDown(own);
    taken_down.0.up(&binaries, Lifetime::Ours, node)?;
    if node.is_some() {
        taken_down.0.load(&spo(target), IMAGE)?;
    }
    tests(target, &taken_down.0.kubeconfig())
}

/// Takes a control plane down when it goes, whatever went wrong before.
struct TakenDown(ControlPlane);

impl Drop for TakenDown {
    fn drop(&mut self) {
        if let Err(error) = self.0.down() {
            eprintln!("failed to take the cluster down: {error:#}");
        }
    }
}

fn tests(target: &Path, kubeconfig: &Path) -> Result<Outcome> {
    let mut command = cargo_test(target);
    command
        .args(ARGS)
        .env(KUBECONFIG, kubeconfig)
        .env("SPO_BIN", spo(target));
    let (status, said) = process::tee(&mut command)?;
    Ok(Counts::read(&said).outcome((!status.success()).then(|| format!("cargo test: {status}"))))
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
