//! The webhook's `Deployment`.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::{Settings, USER, WEBHOOK, Wanted, asks, confined, environment, is_empty, labels};

const ACCOUNT: &str = "spo-webhook";
/// Where the certificate is found.
const CERTIFICATES: &str = "/tmp/k8s-webhook-server/serving-certs";

/// The `Deployment`.
pub(super) fn deployment(settings: &Settings) -> Wanted {
    let spec = json!({
        "replicas": 3,
        "selector": { "matchLabels": labels(WEBHOOK) },
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 1 },
        },
        "template": {
            "metadata": { "labels": labels(WEBHOOK) },
            "spec": pod(settings),
        },
    });
    Wanted::of::<Deployment>(settings, WEBHOOK, &spec)
}

/// Keeps one replica that answers while nodes are drained.
pub(super) fn budget(settings: &Settings) -> Wanted {
    let spec = json!({
        "minAvailable": 1,
        "selector": { "matchLabels": labels(WEBHOOK) },
    });
    Wanted::of::<PodDisruptionBudget>(settings, WEBHOOK, &spec).optional()
}

fn pod(settings: &Settings) -> Value {
    let apart = json!({
        "weight": 100,
        "podAffinityTerm": {
            "labelSelector": { "matchLabels": labels(WEBHOOK) },
            "topologyKey": "kubernetes.io/hostname",
        },
    });
    let mut pod = json!({
        "serviceAccountName": ACCOUNT,
        "enableServiceLinks": false,
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "affinity": {
            "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [apart] },
        },
        "securityContext": {
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container(settings)],
        "volumes": [{
            "name": "webhook-cert-volume",
            "secret": { "secretName": "webhook-server-cert", "defaultMode": 0o440 },
        }],
    });
    let own = &settings.own;
    for (field, value) in [
        ("tolerations", &own.tolerations),
        ("nodeSelector", &own.node_selector),
        ("imagePullSecrets", &own.pull_secrets),
    ] {
        if !is_empty(value) {
            pod[field] = value.clone();
        }
    }
    pod
}

fn container(settings: &Settings) -> Value {
    let mut container = json!({
        "name": "security-profiles-operator",
        "image": settings.own.image,
        "args": ["webhook"],
        "env": environment(settings),
        "ports": [
            { "name": "webhook", "containerPort": 9443, "protocol": "TCP" },
            { "name": "liveness-port", "containerPort": 8085, "protocol": "TCP" },
        ],
        "securityContext": confined(USER, &[], None),
        "resources": {
            "requests": { "memory": "32Mi", "cpu": "250m" },
            "limits": { "memory": "128Mi" },
        },
        "livenessProbe": asks("/healthz", 10, 3),
        "readinessProbe": asks("/readyz", 5, 3),
        "volumeMounts": [
            { "name": "webhook-cert-volume", "mountPath": CERTIFICATES, "readOnly": true },
        ],
    });
    if let Some(policy) = &settings.own.pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    container
}
