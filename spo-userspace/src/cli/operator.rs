//! `spo operator`: keeps what profiles say of themselves.

use std::process::ExitCode;

use anyhow::Context as _;

use super::args::OperatorArgs;
use super::exit::{FAILED, Failure};
use crate::services::operator::{self, Options};
use crate::telemetry::logging;

/// Runs until it is asked to end.
pub(super) fn run(args: OperatorArgs) -> Result<ExitCode, Failure> {
    go(args).map_err(|error| Failure::new(FAILED, error))
}

fn go(args: OperatorArgs) -> Result<ExitCode, anyhow::Error> {
    let OperatorArgs {
        common,
        namespace,
        identity,
        kubelet_dir,
        webhook,
        telling,
    } = args;
    logging::begin(common.verbosity)?;
    let identity = match identity {
        Some(identity) => identity,
        None => nix::unistd::gethostname()
            .context("cannot find the name of this host")?
            .to_string_lossy()
            .into_owned(),
    };
    let options = Options {
        namespace,
        identity,
        kubelet: kubelet_dir,
        webhook,
        places: telling.places(false),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(operator::run(options))?;
    Ok(ExitCode::SUCCESS)
}
