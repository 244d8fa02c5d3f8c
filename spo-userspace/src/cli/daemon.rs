//! `spo daemon`: installs profiles on a node.

use std::path::PathBuf;
use std::process::ExitCode;

use super::args::DaemonArgs;
use super::exit::{FAILED, Failure};
use super::node::{event_loop, mandatory};
use crate::api::names::CONFIGURATION;
use crate::services::daemon::{self, Options};
use crate::telemetry::logging;

/// Runs until it is asked to end.
pub(super) fn run(args: DaemonArgs) -> Result<ExitCode, Failure> {
    go(args).map_err(|error| Failure::new(FAILED, error))
}

fn go(args: DaemonArgs) -> Result<ExitCode, anyhow::Error> {
    let DaemonArgs {
        common,
        with_seccomp,
        later,
        root,
        kubelet,
        with_insecure_metrics_access,
        telling,
    } = args;
    logging::begin(common.verbosity)?;
    for flag in later.set() {
        tracing::warn!(flag, "this flag does nothing yet, and is passed over");
    }
    let options = Options {
        node: mandatory("NODE_NAME", "the name of the node that this runs on")?,
        namespace: mandatory("OPERATOR_NAMESPACE", "the namespace of the operator")?,
        configuration: std::env::var("SPOD_NAME").unwrap_or_else(|_| CONFIGURATION.to_owned()),
        root,
        kubelet: kubelet.map(PathBuf::from),
        places: telling.places(with_insecure_metrics_access),
        with_seccomp,
    };
    event_loop()?.block_on(daemon::run(options))?;
    Ok(ExitCode::SUCCESS)
}
