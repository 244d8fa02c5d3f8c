//! What the containers have in common that run beside the daemon's.

use serde_json::{Value, json};

use super::daemons::{CERTIFICATES, PROFILING, profiled};
use super::{Settings, asks_at, environment};

/// The daemon's ports. They share one network namespace, so that each other container has the next ones.
const HEALTH: u16 = 8085;
pub(super) const METRICS: u16 = 9443;

/// What one of them has for itself.
pub(super) struct Beside {
    /// What it is called, which is also what it runs.
    pub(super) name: &'static str,
    /// What the names of its ports begin with.
    pub(super) ports: &'static str,
    /// How many others have ports before it.
    pub(super) number: u16,
    pub(super) arguments: Vec<String>,
    /// Whether it can keep little of pods without a label.
    pub(super) labelled: bool,
    pub(super) context: Value,
    /// How much it may write, logs included.
    pub(super) storage: &'static str,
    pub(super) mounts: Vec<Value>,
}

/// The container.
pub(super) fn container(settings: &Settings, own: Beside) -> Value {
    let Beside {
        name,
        ports,
        number,
        arguments: mut own,
        labelled,
        context,
        storage,
        mut mounts,
    } = own;
    let (health, metrics) = (HEALTH + number, METRICS + number);
    let mut arguments = vec![name.to_owned()];
    arguments.append(&mut own);
    arguments.push(format!("--health-address=[::]:{health}"));
    arguments.push(format!("--metrics-address=[::]:{metrics}"));
    if labelled && settings.spec.enable_memory_optimization {
        arguments.push("--with-mem-optim=true".to_owned());
    }
    if settings.spec.enable_insecure_metrics_access {
        arguments.push("--with-insecure-metrics-access=true".to_owned());
    }
    // What programs keep is counted as their container's: 14 MiB for sets, and 4 bytes for each process
    // that the node may have, which are 16 MiB at most.
    let memory = if settings.spec.enable_profiling {
        "512Mi"
    } else {
        "256Mi"
    };
    mounts.push(
        json!({ "name": "metrics-cert-volume", "mountPath": CERTIFICATES, "readOnly": true }),
    );
    let live = format!("{ports}-live");
    let mut container = json!({
        "name": name,
        "image": settings.own.image,
        "args": arguments,
        "env": environment(settings),
        "ports": [
            { "name": live, "containerPort": health, "protocol": "TCP" },
            { "name": format!("{ports}-metric"), "containerPort": metrics, "protocol": "TCP" },
        ],
        "securityContext": context,
        "resources": {
            "requests": { "memory": "64Mi", "cpu": "50m", "ephemeral-storage": "10Mi" },
            "limits": { "memory": memory, "ephemeral-storage": storage },
        },
        "startupProbe": asks_at(&live, "/healthz", 3, 10),
        "livenessProbe": asks_at(&live, "/healthz", 10, 3),
        "volumeMounts": mounts,
    });
    if let Some(policy) = &settings.own.pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    if settings.spec.enable_profiling {
        profiled(&mut container, &format!("{ports}-prof"), PROFILING + number);
    }
    container
}
