//! The reader of audit records, a container beside the daemon's while the configuration has it
//! switched on.

use serde_json::{Value, json};

use super::beside::{self, Beside};
use super::{Settings, confined};
use crate::node::setup::ENRICHER_PROFILE;

/// What the container is called.
pub(super) const NAME: &str = "log-enricher";
const NUMBER: u16 = 2;
pub(super) const METRICS: u16 = beside::METRICS + NUMBER;
/// The group `adm`, which may read logs where root alone may not: those that a syslog daemon owns.
const READERS: u32 = 4;
/// Where the node's processes are seen: a record tells no more than a process's number.
const PROC: &str = "/host/proc";
/// The logs of auditd and of syslog daemons.
const LOGS: &str = "/var/log";

/// The container.
pub(super) fn container(settings: &Settings) -> Value {
    // Files that root owns can be read without any capability.
    let mut context = confined(0, &[], Some(ENRICHER_PROFILE));
    context["runAsGroup"] = json!(READERS);
    let own = Beside {
        name: NAME,
        ports: "logs",
        number: NUMBER,
        arguments: vec![format!("--proc={PROC}")],
        labelled: true,
        context,
        storage: "128Mi",
        mounts: vec![
            json!({ "name": "host-log-volume", "mountPath": LOGS, "readOnly": true }),
            json!({ "name": "host-proc-volume", "mountPath": PROC, "readOnly": true }),
        ],
    };
    beside::container(settings, own)
}

/// What it sees of the node.
pub(super) fn volumes(settings: &Settings) -> [Value; 2] {
    let proc = settings.spec.host_proc_volume_path.as_deref();
    [
        json!({ "name": "host-log-volume", "hostPath": { "path": LOGS, "type": "Directory" } }),
        json!({
            "name": "host-proc-volume",
            "hostPath": { "path": proc.unwrap_or("/proc"), "type": "Directory" },
        }),
    ]
}
