//! The processes that run in a cluster: their arguments, and the runtime that they run in.

use std::process::ExitCode;

use super::args::OperatorArgs;
use super::exit::{FAILED, Failure};
use crate::services::{self, OperatorOptions};

/// Runs the operator until it is asked to end.
pub(super) fn operator(args: OperatorArgs) -> Result<ExitCode, Failure> {
    let OperatorArgs {
        namespace,
        identity,
        kubelet_dir,
        webhook,
        verbosity,
    } = args;
    log(verbosity);
    let identity = match identity {
        Some(identity) => identity,
        None => host_name()?,
    };
    serve(services::operator(OperatorOptions {
        namespace,
        identity,
        kubelet: kubelet_dir,
        webhook,
    }))
}

/// Runs a process until it ends, on as few threads as it needs: each costs memory on every node.
fn serve(service: impl Future<Output = anyhow::Result<()>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(service).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn host_name() -> Result<String, Failure> {
    let name = nix::unistd::gethostname().map_err(failed)?;
    Ok(name.to_string_lossy().into_owned())
}

fn log(verbosity: u8) {
    let level = match verbosity {
        0 => tracing::Level::INFO,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .init();
}

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(FAILED, error)
}
