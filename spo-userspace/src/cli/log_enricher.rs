//! `spo log-enricher`: records the containers of a node by audit records.

use std::process::ExitCode;

use super::args::{LogEnricherArgs, LogSourceArg};
use super::exit::{FAILED, Failure, USAGE};
use super::node::{event_loop, mandatory};
use crate::services::log_enricher::{self, Options};
use crate::telemetry::logging;

/// Runs until it is asked to end.
pub(super) fn run(args: LogEnricherArgs) -> Result<ExitCode, Failure> {
    if args.enricher_log_source == LogSourceArg::Bpf {
        let error = anyhow::anyhow!(
            "--enricher-log-source=Bpf is not there yet: leave it out, and audit records are read"
        );
        return Err(Failure::new(USAGE, error));
    }
    go(args).map_err(|error| Failure::new(FAILED, error))
}

fn go(args: LogEnricherArgs) -> Result<ExitCode, anyhow::Error> {
    let LogEnricherArgs {
        common,
        enricher_log_source: _,
        enricher_filters_json,
        proc,
        with_mem_optim,
        with_insecure_metrics_access,
        telling,
    } = args;
    logging::begin(common.verbosity)?;
    if enricher_filters_json.is_some() {
        tracing::warn!(
            "--enricher-filters-json does nothing yet: audit records are recorded, not logged"
        );
    }
    let options = Options {
        node: mandatory("NODE_NAME", "the name of the node that this runs on")?,
        namespace: mandatory("OPERATOR_NAMESPACE", "the namespace of the operator")?,
        labelled: with_mem_optim,
        places: telling.places(with_insecure_metrics_access),
    };
    event_loop()?.block_on(log_enricher::run(options, proc))?;
    Ok(ExitCode::SUCCESS)
}
