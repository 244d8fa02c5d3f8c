//! What a process tells about itself: metrics, logs, and whether it is alive.

pub mod http;
pub mod logging;
pub mod metrics;
pub mod profiling;
