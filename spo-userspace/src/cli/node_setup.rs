//! `spo node-setup`: what only root can do on a node, before the daemon starts.

use std::process::ExitCode;

use super::args::NodeSetupArgs;
use super::exit::{FAILED, Failure};
use crate::node::setup::Setup;
use crate::telemetry::logging;

/// Sets the node up, and says what was not as it should be.
pub(super) fn run(args: NodeSetupArgs) -> Result<ExitCode, Failure> {
    let NodeSetupArgs {
        common,
        runtime: _,
        apparmor,
        kubelet,
        root,
        host,
        profiles,
    } = args;
    let failed = |error: anyhow::Error| Failure::new(FAILED, error);
    logging::begin(common.verbosity).map_err(|error| failed(error.into()))?;
    if apparmor {
        tracing::warn!("--apparmor does nothing yet, and is passed over");
    }
    let setup = Setup {
        host,
        root,
        kubelet,
        copies: profiles,
    };
    let done = setup.run().map_err(|error| failed(error.into()))?;
    for what in &done {
        tracing::info!("{what}");
    }
    tracing::info!(changes = done.len(), "the node is set up");
    Ok(ExitCode::SUCCESS)
}
