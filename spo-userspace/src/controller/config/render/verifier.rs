//! The verifier, a container beside the daemon's while the configuration has it switched on.

use serde_json::{Value, json};

use super::beside::{self, Beside};
use super::{ROOT, Settings, USER, confined, recorder};
use crate::node::setup::VERIFIER_PROFILE;

/// What the container is called.
pub(super) const NAME: &str = "verifier";
const NUMBER: u16 = 3;
pub(super) const METRICS: u16 = beside::METRICS + NUMBER;

/// The container.
pub(super) fn container(settings: &Settings) -> Value {
    // It reads what the recorder reads. Kubernetes gives capabilities to root alone, which could end the
    // processes of all root's: so it becomes the daemon's user, who may look into the folder.
    let [bpf, perfmon] = recorder::CAPABILITIES;
    let mut context = confined(0, &[bpf, perfmon, "SETUID"], Some(VERIFIER_PROFILE));
    context["runAsGroup"] = json!(USER);
    let own = Beside {
        name: NAME,
        ports: "verifier",
        number: NUMBER,
        arguments: Vec::new(),
        labelled: false,
        context,
        storage: "20Mi",
        mounts: vec![
            json!({ "name": "host-operator-volume", "mountPath": ROOT, "readOnly": true }),
        ],
    };
    beside::container(settings, own)
}
