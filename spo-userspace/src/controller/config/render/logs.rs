//! The reader of audit records, a container beside the daemon's while the configuration has it
//! switched on.

use serde_json::{Value, json};

use super::daemons::{CERTIFICATES, PROFILING, profiled};
use super::{Settings, asks_at, confined, environment};
use crate::node::setup::ENRICHER_PROFILE;

/// What the container is called.
pub(super) const NAME: &str = "log-enricher";
/// The daemon and the recorder have others, in the same network namespace.
const HEALTH: u16 = 8087;
pub(super) const METRICS: u16 = 9445;
/// The group `adm`, which may read logs where root alone may not: those that a syslog daemon owns.
const READERS: u32 = 4;
/// Where the node's processes are seen: a record tells no more than a process's number.
const PROC: &str = "/host/proc";
/// The logs of auditd and of syslog daemons.
const LOGS: &str = "/var/log";

/// The container.
pub(super) fn container(settings: &Settings) -> Value {
    let mut arguments = vec![
        "log-enricher".to_owned(),
        format!("--proc={PROC}"),
        format!("--health-address=[::]:{HEALTH}"),
        format!("--metrics-address=[::]:{METRICS}"),
    ];
    if settings.spec.enable_insecure_metrics_access {
        arguments.push("--with-insecure-metrics-access=true".to_owned());
    }
    let memory = if settings.spec.enable_profiling {
        "512Mi"
    } else {
        "256Mi"
    };
    // Files that root owns can be read without any capability.
    let mut context = confined(0, &[], Some(ENRICHER_PROFILE));
    context["runAsGroup"] = json!(READERS);
    let mut container = json!({
        "name": NAME,
        "image": settings.own.image,
        "args": arguments,
        "env": environment(settings),
        "ports": [
            { "name": "logs-live", "containerPort": HEALTH, "protocol": "TCP" },
            { "name": "logs-metric", "containerPort": METRICS, "protocol": "TCP" },
        ],
        "securityContext": context,
        "resources": {
            "requests": { "memory": "64Mi", "cpu": "50m", "ephemeral-storage": "10Mi" },
            "limits": { "memory": memory, "ephemeral-storage": "128Mi" },
        },
        "startupProbe": asks_at("logs-live", "/healthz", 3, 10),
        "livenessProbe": asks_at("logs-live", "/healthz", 10, 3),
        "volumeMounts": [
            { "name": "host-log-volume", "mountPath": LOGS, "readOnly": true },
            { "name": "host-proc-volume", "mountPath": PROC, "readOnly": true },
            { "name": "metrics-cert-volume", "mountPath": CERTIFICATES, "readOnly": true },
        ],
    });
    if let Some(policy) = &settings.own.pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    if settings.spec.enable_profiling {
        profiled(&mut container, "logs-prof", PROFILING + 2);
    }
    container
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
