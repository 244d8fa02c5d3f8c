//! `spo node-cleanup`: what `spo uninstall` runs on each node.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

use super::args::NodeCleanupArgs;
use super::exit::{FAILED, Failure};
use crate::node::cleanup::Cleanup;

/// Cleans up, and reports what is left.
pub(super) fn run(args: NodeCleanupArgs) -> Result<ExitCode, Failure> {
    go(args).map_err(|error| Failure::new(FAILED, error))
}

fn go(args: NodeCleanupArgs) -> Result<ExitCode, anyhow::Error> {
    let NodeCleanupArgs {
        keep,
        report: file,
        kubelet,
        root,
        host,
    } = args;
    let cleanup = Cleanup {
        host,
        root,
        kubelet,
        keep: keep.into_iter().collect(),
    };
    let report = cleanup.run()?;
    let text = serde_json::to_string(&report).context("cannot write the report")?;
    // It is there already: the kubelet made it, or it is a terminal.
    let written = OpenOptions::new()
        .write(true)
        .open(&file)
        .and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()));
    written.with_context(|| format!("cannot write the report to {}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}
