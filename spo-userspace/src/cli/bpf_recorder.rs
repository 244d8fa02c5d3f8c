//! `spo bpf-recorder`: records the containers of a node.

use std::process::ExitCode;

use anyhow::Context as _;

use super::args::BpfRecorderArgs;
use super::daemon::mandatory;
use super::exit::{FAILED, Failure};
use crate::services::bpf_recorder::{self, Options};
use crate::telemetry::logging;

/// Runs until it is asked to end.
pub(super) fn run(args: BpfRecorderArgs) -> Result<ExitCode, Failure> {
    go(args).map_err(|error| Failure::new(FAILED, error))
}

fn go(args: BpfRecorderArgs) -> Result<ExitCode, anyhow::Error> {
    let BpfRecorderArgs {
        common,
        with_insecure_metrics_access,
        telling,
    } = args;
    logging::begin(common.verbosity)?;
    let options = Options {
        node: mandatory("NODE_NAME", "the name of the node that this runs on")?,
        namespace: mandatory("OPERATOR_NAMESPACE", "the namespace of the operator")?,
        places: telling.places(with_insecure_metrics_access),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(bpf_recorder::run(options))?;
    Ok(ExitCode::SUCCESS)
}
