//! `spo daemon`: installs profiles on a node.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::args::DaemonArgs;
use super::exit::{FAILED, Failure};
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(daemon::run(options))?;
    Ok(ExitCode::SUCCESS)
}

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
