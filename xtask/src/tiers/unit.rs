//! The tier `unit`: no privileges, no kernel, no network.

use std::path::Path;

use anyhow::Result;

use super::outcome;
use crate::env::{root, which};
use crate::process;
use crate::setup::ebpf;
use crate::setup::needs::{self, Group};
use crate::table::Outcome;

/// These need the eBPF target, a kernel, and a cluster.
const SELECTION: [&str; 7] = [
    "--workspace",
    "--exclude",
    "spo-ebpf",
    "--exclude",
    "spo-kernel-tests",
    "--exclude",
    "spo-cluster-tests",
];

/// Runs the tests with nextest if it is there, else with cargo's own runner.
pub(crate) fn run(target: &Path) -> Result<Outcome> {
    let unmet = needs::ensure(&[Group::Base]);
    if !unmet.is_empty() {
        return Ok(Outcome::Skipped(unmet.to_string()));
    }
    let oracles = needs::ensure(&[Group::Oracle]);
    if !oracles.is_empty() {
        eprintln!("some tests are skipped: {oracles}");
    }
    // A debug build does without; the tests of this tier load no program.
    let (_, without_ebpf) = ebpf::ensure()?;
    if !without_ebpf.is_empty() {
        eprintln!("building with stubs in place of the eBPF objects: {without_ebpf}");
    }
    let root = root();
    if which("cargo-nextest").is_none() {
        let (status, said) =
            process::tee(process::cargo(&root, target).arg("test").args(SELECTION))?;
        return Ok(outcome(
            &said,
            (!status.success()).then(|| format!("cargo test: {status}")),
        ));
    }
    let (status, said) = process::tee(
        process::cargo(&root, target)
            .args(["nextest", "run"])
            .args(SELECTION),
    )?;
    if !status.success() {
        return Ok(outcome(&said, Some(format!("cargo nextest: {status}"))));
    }
    // nextest runs no examples of the documentation.
    let (status, examples) = process::tee(
        process::cargo(&root, target)
            .args(["test", "--doc"])
            .args(SELECTION),
    )?;
    Ok(outcome(
        &(said + &examples),
        (!status.success()).then(|| format!("cargo test --doc: {status}")),
    ))
}
