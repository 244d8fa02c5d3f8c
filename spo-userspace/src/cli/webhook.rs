//! `spo webhook`: the admission server.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;

use super::args::{TlsVersion, WebhookArgs, profiling_at};
use super::exit::{FAILED, Failure};
use crate::server::LeastTls;
use crate::services::webhook::{self, Options};
use crate::telemetry::logging;

/// Serves until the process is asked to end.
pub(super) fn run(args: WebhookArgs) -> Result<ExitCode, Failure> {
    serve(args).map_err(|error| Failure::new(FAILED, error))?;
    Ok(ExitCode::SUCCESS)
}

fn serve(args: WebhookArgs) -> Result<()> {
    let WebhookArgs {
        common,
        namespace,
        port,
        is_static: _,
        tls_min_version,
        profiling,
        profiling_port,
        health_port,
        certificates,
    } = args;
    logging::begin(common.verbosity)?;
    let host = nix::unistd::gethostname().context("cannot find the name of this host")?;
    let options = Options {
        namespace,
        identity: host.to_string_lossy().into_owned(),
        port,
        health_port,
        certificates,
        profiling: profiling_at(profiling, profiling_port),
        least: match tls_min_version {
            TlsVersion::V1_2 => LeastTls::V1_2,
            TlsVersion::V1_3 => LeastTls::V1_3,
        },
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to make an event loop")?;
    runtime
        .block_on(webhook::run(options))
        .context("the webhooks cannot be served")
}
