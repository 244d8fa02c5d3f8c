//! What the processes of a node have in common.

use anyhow::{Context as _, anyhow};
use tokio::runtime::{Builder, Runtime};

/// A variable of the environment that must be set.
pub(super) fn mandatory(name: &str, what: &str) -> Result<String, anyhow::Error> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| {
            anyhow!(
                "the environment has no {name}: set it to {what}, as the manifests in deploy/ do"
            )
        })
}

/// One thread, and a few for what waits for the disk or the kernel.
pub(super) fn event_loop() -> Result<Runtime, anyhow::Error> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .context("cannot start the event loop")
}
