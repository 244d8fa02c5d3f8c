//! The recorder, a container beside the daemon's while the configuration has it switched on.

use serde_json::{Value, json};

use super::daemons::{CERTIFICATES, PROFILING, profiled};
use super::{Settings, asks_at, confined, environment};
use crate::node::setup::RECORDER_PROFILE;

/// What the container is called.
pub(super) const NAME: &str = "bpf-recorder";
/// The daemon has the usual ports, in the same network namespace.
const HEALTH: u16 = 8086;
pub(super) const METRICS: u16 = 9444;
/// What the kernel wants of whoever loads programs and reads its structures; the user is root because
/// Kubernetes gives capabilities to nobody else.
const CAPABILITIES: [&str; 2] = ["BPF", "PERFMON"];

/// The container.
pub(super) fn container(settings: &Settings) -> Value {
    let mut arguments = vec![
        "bpf-recorder".to_owned(),
        format!("--health-address=[::]:{HEALTH}"),
        format!("--metrics-address=[::]:{METRICS}"),
    ];
    if settings.spec.enable_insecure_metrics_access {
        arguments.push("--with-insecure-metrics-access=true".to_owned());
    }
    // What the programs keep is counted as the container's: 14 MiB for sets, and 4 bytes for each
    // process that the node may have, which are 16 MiB at most.
    let memory = if settings.spec.enable_profiling {
        "512Mi"
    } else {
        "256Mi"
    };
    let mut container = json!({
        "name": NAME,
        "image": settings.own.image,
        "args": arguments,
        "env": environment(settings),
        "ports": [
            { "name": "recorder-live", "containerPort": HEALTH, "protocol": "TCP" },
            { "name": "recorder-metric", "containerPort": METRICS, "protocol": "TCP" },
        ],
        "securityContext": confined(0, &CAPABILITIES, Some(RECORDER_PROFILE)),
        "resources": {
            "requests": { "memory": "64Mi", "cpu": "50m", "ephemeral-storage": "10Mi" },
            "limits": { "memory": memory, "ephemeral-storage": "20Mi" },
        },
        "startupProbe": asks_at("recorder-live", "/healthz", 3, 10),
        "livenessProbe": asks_at("recorder-live", "/healthz", 10, 3),
        "volumeMounts": [
            { "name": "metrics-cert-volume", "mountPath": CERTIFICATES, "readOnly": true },
        ],
    });
    if let Some(policy) = &settings.own.pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    if settings.spec.enable_profiling {
        profiled(&mut container, "recorder-prof", PROFILING + 1);
    }
    container
}
