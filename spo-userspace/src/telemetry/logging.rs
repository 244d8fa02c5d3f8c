//! Logs on standard error: for people on a terminal, as JSON for everything else.

use std::io::IsTerminal as _;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// Why nothing can be logged.
#[derive(Debug, Error)]
#[error("cannot begin to log")]
pub struct LoggingError(#[from] TryInitError);

/// Begins to log, once in a process. What a verbosity means: 0 what changes and what is wrong, 1
/// every decision, 2 and more every request as well.
pub fn begin(verbosity: u8) -> Result<(), LoggingError> {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::new(filter(verbosity)));
    if std::io::stderr().is_terminal() {
        builder.with_target(false).finish().try_init()?;
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .try_init()?;
    }
    Ok(())
}

fn filter(verbosity: u8) -> &'static str {
    match verbosity {
        0 => "warn,spo=info",
        1 => "info,spo=debug",
        _ => "debug,spo=trace",
    }
}
