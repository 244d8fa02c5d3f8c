//! What benchmarks on a cluster have in common.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

/// Runs a benchmark, which tells whether its goals are met, and says what is wrong.
pub fn run(name: &str, bench: impl AsyncFnOnce() -> Result<bool>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the event loop");
    match runtime.and_then(|runtime| runtime.block_on(bench())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("{name}: a goal was missed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
