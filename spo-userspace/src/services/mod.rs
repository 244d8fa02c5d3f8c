//! The processes that run as long as the cluster does, and who talks to whom in them.

pub mod bpf_recorder;
pub mod daemon;
pub mod log_enricher;
pub mod operator;
mod recorder;
pub mod telling;
pub mod verifier;
pub mod webhook;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled when this process is asked to end.
fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = stop.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "asked to end");
        token.cancel();
    });
    Ok(stop)
}
