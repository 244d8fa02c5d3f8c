//! `spo webhook`, as a service account with the role of `deploy/base/webhook-role.yaml` and no
//! other, registered at a URL; and the parts around it: certificates, and who may read metrics.
#![expect(
    clippy::print_stdout,
    reason = "what a test found out is told by its printed line"
)]

mod away;
mod binding;
mod certificates;
mod metrics;
mod objects;
mod policy;
mod recording;
mod room;
mod server;
mod unreadable;
