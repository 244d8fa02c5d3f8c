//! What is told of the recorder by its metrics, and by whether it is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::telemetry::metrics::Metrics;

/// What the recorder tells.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether it is seen what containers do.
    pub(super) attached: AtomicBool,
    /// Whether that could not be.
    pub(super) failing: AtomicBool,
    /// Sets of which it is not known yet whose they are.
    pub(super) undecided: AtomicU64,
}

/// Whether the recorder can do what it is to do.
pub(super) fn ready(
    state: Arc<State>,
) -> impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static {
    move || {
        if state.failing.load(Ordering::Relaxed) {
            return Err("nothing can be recorded; the log says why".to_owned());
        }
        Ok(())
    }
}

/// Tells the numbers whenever somebody looks.
pub(super) fn gauges(metrics: &Metrics, state: &Arc<State>) {
    let own = state.clone();
    metrics.gauge(
        "recorder_attached",
        "Whether it is seen what containers do: 1, or 0.",
        move || f64::from(u8::from(own.attached.load(Ordering::Relaxed))),
    );
    let own = state.clone();
    metrics.gauge(
        "recorder_undecided_sets",
        "Sets of system calls of which it is not known yet whose they are.",
        move || number(own.undecided.load(Ordering::Relaxed)),
    );
}

/// As metrics have it.
#[expect(clippy::cast_precision_loss, reason = "nothing is as many")]
pub(in crate::services) fn number(number: u64) -> f64 {
    number as f64
}
