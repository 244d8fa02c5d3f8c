//! `spo daemon` as a process on this machine, as a service account with the daemon's role and no
//! other. What the operator writes, the tests write.
#![expect(
    clippy::print_stdout,
    reason = "what a test passes over is counted by its printed line, and figures are printed"
)]

mod faults;
mod figures;
mod life;
mod metrics;
mod operator;
mod profile;
mod profiling;
mod refusals;
mod uninvited;
mod unprivileged;
mod world;
