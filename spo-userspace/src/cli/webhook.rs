//! `spo webhook`: the admission server.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;

use super::args::{TlsVersion, WebhookArgs};
use super::exit::{FAILED, Failure};
use crate::server::LeastTls;
use crate::services::asked_to_end;
use crate::services::webhook::{self, Options};

/// Serves until the process is asked to end.
pub(super) fn run(args: WebhookArgs) -> Result<ExitCode, Failure> {
    serve(args).map_err(|error| Failure::new(FAILED, error))?;
    Ok(ExitCode::SUCCESS)
}

fn serve(args: WebhookArgs) -> Result<()> {
    let WebhookArgs {
        port,
        is_static: _,
        tls_min_version,
        health_port,
        certificates,
    } = args;
    let options = Options {
        port,
        health_port,
        certificates,
        least: match tls_min_version {
            TlsVersion::V1_2 => LeastTls::V1_2,
            TlsVersion::V1_3 => LeastTls::V1_3,
        },
    };
    tracing_subscriber::fmt()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to make an event loop")?;
    runtime.block_on(async {
        let stop = asked_to_end().context("failed to listen for signals")?;
        webhook::run(options, stop)
            .await
            .context("the webhooks cannot be served")
    })
}
