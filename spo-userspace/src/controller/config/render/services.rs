//! Services, and what tells Prometheus of one.

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::{METRICS_SERVICE, Settings, WEBHOOK, WEBHOOK_SERVICE, Wanted, labels, monitors};
use crate::cluster::MANAGER;
use crate::controller::status::DAEMONS;

/// The port of [`metrics`]; [`monitor`] names it.
const PORT: &str = "http";

/// In front of the daemons' metrics.
pub(super) fn metrics(settings: &Settings) -> Wanted {
    let spec = json!({
        "ports": [{ "name": PORT, "port": 443, "protocol": "TCP", "targetPort": 9443 }],
        "selector": labels(DAEMONS),
    });
    Wanted::of::<Service>(settings, METRICS_SERVICE, &spec)
}

/// In front of the webhook.
pub(super) fn webhook(settings: &Settings) -> Wanted {
    let spec = json!({
        "ports": [{ "name": "webhook", "port": 443, "protocol": "TCP", "targetPort": 9443 }],
        "selector": labels(WEBHOOK),
    });
    Wanted::of::<Service>(settings, WEBHOOK_SERVICE, &spec)
}

/// Has Prometheus read the daemons' metrics.
pub(super) fn monitor(settings: &Settings) -> Wanted {
    let endpoints = ["/metrics", "/metrics-spod"].map(|path| endpoint(settings, path));
    let spec = json!({
        "endpoints": endpoints,
        "selector": {
            "matchExpressions": [{ "key": "app", "operator": "In", "values": [MANAGER] }],
        },
    });
    let name = "security-profiles-operator-monitor";
    Wanted::new(monitors(), settings, name, &spec).optional()
}

fn endpoint(settings: &Settings, path: &str) -> Value {
    let mut endpoint = json!({ "port": PORT, "path": path, "interval": "10s" });
    if settings.spec.enable_insecure_metrics_access {
        endpoint["scheme"] = json!("http");
        return endpoint;
    }
    endpoint["scheme"] = json!("https");
    endpoint["bearerTokenSecret"] = json!({ "name": "metrics-token", "key": "token" });
    endpoint["tlsConfig"] = json!({
        "ca": { "secret": { "name": "metrics-server-cert", "key": "ca.crt" } },
        "serverName": format!("{METRICS_SERVICE}.{}.svc", settings.namespace),
    });
    endpoint
}
