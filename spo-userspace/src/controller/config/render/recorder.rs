//! The recorder, a container beside the daemon's while the configuration has it switched on.

use serde_json::Value;

use super::beside::{self, Beside};
use super::{Settings, confined};
use crate::node::setup::RECORDER_PROFILE;

/// What the container is called.
pub(super) const NAME: &str = "bpf-recorder";
const NUMBER: u16 = 1;
pub(super) const METRICS: u16 = beside::METRICS + NUMBER;
/// What the kernel wants of whoever loads programs and reads its structures; the user is root because
/// Kubernetes gives capabilities to nobody else.
pub(super) const CAPABILITIES: [&str; 2] = ["BPF", "PERFMON"];

/// The container.
pub(super) fn container(settings: &Settings) -> Value {
    let own = Beside {
        name: NAME,
        ports: "recorder",
        number: NUMBER,
        arguments: Vec::new(),
        labelled: true,
        context: confined(0, &CAPABILITIES, Some(RECORDER_PROFILE)),
        storage: "20Mi",
        mounts: Vec::new(),
    };
    beside::container(settings, own)
}
