//! The `DaemonSet` of the daemons, for seccomp alone.

use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Value, json};

use super::{
    ROOT, Settings, USER, Wanted, asks, confined, environment, has_logs, has_recorder,
    has_verifier, is_empty, labels, logs, recorder, verifier,
};
use crate::api::names::STARTUP_TAINT;
use crate::controller::status::DAEMONS;
use crate::node::setup::OWN_PROFILE;

/// What the daemons run as.
const ACCOUNT: &str = "spod";
/// The `ConfigMap` with the profile that confines them, which `node-setup` puts on the node.
const PROFILES: &str = "security-profiles-operator-profile";
/// Where the certificate of the metrics is found.
pub(super) const CERTIFICATES: &str = "/var/run/secrets/metrics";
/// The `SELinux` type that may write what the daemons write, where nothing else is wished.
const TYPE: &str = "spc_t";
/// The port of profiles of the daemon's own time.
pub(super) const PROFILING: u16 = 6060;
/// The class of pods that every node has to run.
const PRIORITY: &str = "system-node-critical";

/// The `DaemonSet`.
pub(super) fn daemons(settings: &Settings) -> Wanted {
    let spec = json!({
        "selector": { "matchLabels": labels(DAEMONS) },
        // One node at a time: a version that fails does so on one node.
        "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
        "template": {
            "metadata": {
                "labels": labels(DAEMONS),
                "annotations": { "openshift.io/scc": "privileged" },
            },
            "spec": pod(settings),
        },
    });
    Wanted::of::<DaemonSet>(settings, DAEMONS, &spec)
}

fn pod(settings: &Settings) -> Value {
    let scheduling = settings.spec.scheduling.as_ref();
    let priority = scheduling.map_or(PRIORITY, |scheduling| &scheduling.priority_class_name);
    let selinux = settings.spec.selinux.as_ref();
    let label = selinux.map_or(TYPE, |selinux| &selinux.type_tag);
    let mut pod = json!({
        "serviceAccountName": ACCOUNT,
        "enableServiceLinks": false,
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "priorityClassName": priority,
        "securityContext": {
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
            "seLinuxOptions": { "type": label },
        },
        "initContainers": [setup(settings)],
        "containers": containers(settings),
        "volumes": volumes(settings),
    });
    let mut tolerations: Vec<_> = scheduling.map_or_else(Vec::new, |scheduling| {
        let given = scheduling.tolerations.iter();
        given.map(|toleration| json!(toleration)).collect()
    });
    // Who takes the taint away must get to the node.
    tolerations.push(json!({ "key": STARTUP_TAINT, "operator": "Exists" }));
    pod["tolerations"] = json!(tolerations);
    if has_verifier(settings) {
        // The kernel tells of the tasks in the pid namespace of whoever asks.
        pod["hostPID"] = json!(true);
    }
    let optional = [
        (
            "affinity",
            json!(scheduling.and_then(|scheduling| scheduling.affinity.as_ref())),
        ),
        ("imagePullSecrets", json!(settings.spec.image_pull_secrets)),
    ];
    for (field, value) in optional {
        if !is_empty(&value) {
            pod[field] = value;
        }
    }
    pod
}

/// The one step that needs root. It reaches two folders of the host and no more.
fn setup(settings: &Settings) -> Value {
    let rights = ["CHOWN", "FOWNER", "FSETID", "DAC_OVERRIDE"];
    let seccomp = format!("/host{}/seccomp", settings.kubelet);
    let root = format!("/host{ROOT}");
    let mut environment = environment(settings);
    environment.push(kubelet(settings));
    let mut container = json!({
        "name": "non-root-enabler",
        "image": settings.own.image,
        "args": ["node-setup"],
        "env": environment,
        "securityContext": confined(0, &rights, None),
        "resources": {
            "requests": { "memory": "32Mi", "cpu": "100m", "ephemeral-storage": "10Mi" },
            "limits": { "memory": "64Mi", "ephemeral-storage": "50Mi" },
        },
        "volumeMounts": [
            { "name": "host-seccomp-volume", "mountPath": seccomp },
            { "name": "host-operator-volume", "mountPath": root },
            { "name": "operator-profiles-volume", "mountPath": "/opt/spo-profiles", "readOnly": true },
        ],
    });
    if let Some(policy) = &settings.own.pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    container
}

fn containers(settings: &Settings) -> Vec<Value> {
    let mut all = vec![daemon(settings)];
    if has_recorder(settings) {
        all.push(recorder::container(settings));
    }
    if has_logs(settings) {
        all.push(logs::container(settings));
    }
    if has_verifier(settings) {
        all.push(verifier::container(settings));
    }
    all
}

fn kubelet(settings: &Settings) -> Value {
    json!({ "name": "KUBELET_DIR", "value": settings.kubelet })
}

fn daemon(settings: &Settings) -> Value {
    let seccomp = format!("{}/seccomp", settings.kubelet);
    let mut environment = environment(settings);
    environment.push(kubelet(settings));
    let resources = settings.spec.daemon_resource_requirements.as_ref();
    // Samples, and the names of functions, need room.
    let memory = if settings.spec.enable_profiling {
        "512Mi"
    } else {
        "128Mi"
    };
    let resources = resources.map_or_else(
        || {
            json!({
                "requests": { "memory": "64Mi", "cpu": "100m", "ephemeral-storage": "50Mi" },
                "limits": { "memory": memory, "ephemeral-storage": "200Mi" },
            })
        },
        |resources| json!(resources),
    );
    let mut container = json!({
        "name": "security-profiles-operator",
        "image": settings.own.image,
        "args": arguments(settings),
        "env": environment,
        "ports": [
            { "name": "liveness-port", "containerPort": 8085, "protocol": "TCP" },
            { "name": "metrics", "containerPort": 9443, "protocol": "TCP" },
        ],
        "securityContext": confined(USER, &[], Some(OWN_PROFILE)),
        "resources": resources,
        "startupProbe": asks("/healthz", 3, 10),
        "livenessProbe": asks("/healthz", 10, 3),
        // Nodes that wait for their profiles wait for this.
        "readinessProbe": asks("/readyz", 2, 3),
        "volumeMounts": [
            { "name": "host-operator-volume", "mountPath": ROOT },
            // Only root may mend what is wrong there, which is looked for.
            { "name": "host-seccomp-volume", "mountPath": seccomp, "readOnly": true },
            { "name": "metrics-cert-volume", "mountPath": CERTIFICATES, "readOnly": true },
        ],
    });
    if let Some(policy) = &settings.own.pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    if settings.spec.enable_profiling {
        profiled(&mut container, "profiling", PROFILING);
    }
    container
}

pub(super) fn profiled(container: &mut Value, name: &str, port: u16) {
    let variables = [
        json!({ "name": "SPO_PROFILING", "value": "true" }),
        json!({ "name": "SPO_PROFILING_PORT", "value": port.to_string() }),
    ];
    let port = json!({ "name": name, "containerPort": port, "protocol": "TCP" });
    if let Some(ports) = container["ports"].as_array_mut() {
        ports.push(port);
    }
    if let Some(environment) = container["env"].as_array_mut() {
        environment.extend(variables);
    }
}

fn arguments(settings: &Settings) -> Vec<&'static str> {
    let mut arguments = vec!["daemon"];
    if settings.spec.enable_memory_optimization {
        arguments.push("--with-mem-optim=true");
    }
    if settings.spec.enable_insecure_metrics_access {
        arguments.push("--with-insecure-metrics-access=true");
    }
    arguments
}

fn volumes(settings: &Settings) -> Vec<Value> {
    let seccomp = format!("{}/seccomp", settings.kubelet);
    let mut all = vec![
        json!({
            "name": "host-seccomp-volume",
            "hostPath": { "path": seccomp, "type": "DirectoryOrCreate" },
        }),
        json!({
            "name": "host-operator-volume",
            "hostPath": { "path": ROOT, "type": "DirectoryOrCreate" },
        }),
        json!({
            "name": "operator-profiles-volume",
            "configMap": { "name": PROFILES, "defaultMode": 0o444 },
        }),
        // Profiles are installed whether or not there is a certificate for metrics.
        json!({
            "name": "metrics-cert-volume",
            "secret": { "secretName": "metrics-server-cert", "defaultMode": 0o440, "optional": true },
        }),
    ];
    if has_logs(settings) {
        all.extend(logs::volumes(settings));
    }
    all
}
