//! `spo bpf-recorder`: records the containers of a node.

use std::process::ExitCode;

use super::args::BpfRecorderArgs;
use super::exit::{FAILED, Failure};
use super::node::{event_loop, mandatory};
use crate::services::bpf_recorder::{self, Options};
use crate::telemetry::logging;

/// Runs until it is asked to end.
pub(super) fn run(args: BpfRecorderArgs) -> Result<ExitCode, Failure> {
    go(args).map_err(|error| Failure::new(FAILED, error))
}

fn go(args: BpfRecorderArgs) -> Result<ExitCode, anyhow::Error> {
    let BpfRecorderArgs {
        common,
        with_mem_optim,
        with_insecure_metrics_access,
        telling,
    } = args;
    logging::begin(common.verbosity)?;
    let options = Options {
        node: mandatory("NODE_NAME", "the name of the node that this runs on")?,
        namespace: mandatory("OPERATOR_NAMESPACE", "the namespace of the operator")?,
        labelled: with_mem_optim,
        places: telling.places(with_insecure_metrics_access),
    };
    event_loop()?.block_on(bpf_recorder::run(options))?;
    Ok(ExitCode::SUCCESS)
}
