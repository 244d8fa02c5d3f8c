//! Services, and what tells Prometheus of one.

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::{
    METRICS_SERVICE, Settings, WEBHOOK, WEBHOOK_SERVICE, Wanted, has_logs, has_recorder,
    has_verifier, labels, logs, monitors, recorder, verifier,
};
use crate::cluster::MANAGER;
use crate::controller::status::DAEMONS;
use crate::telemetry::http::{PROCESS_PATH, PROFILES_PATH};

/// The port of [`metrics`]; [`monitor`] names it.
const PORT: &str = "http";
/// The ports of what runs beside the daemon, where it is switched on.
const RECORDER_PORT: &str = "recorder";
const LOGS_PORT: &str = "logs";
const VERIFIER_PORT: &str = "verifier";
/// The port of [`webhook`], where its metrics are, too.
const WEBHOOK_PORT: &str = "webhook";
/// The port of the operator's own Service, which is in `deploy/`. Its certificate is that of [`metrics`].
const OPERATOR_PORT: &str = "metrics";

/// In front of the metrics of the daemons, and of what runs beside them.
pub(super) fn metrics(settings: &Settings) -> Wanted {
    let port = |name, port, target| json!({ "name": name, "port": port, "protocol": "TCP", "targetPort": target });
    let mut ports = vec![port(PORT, 443, 9443)];
    ports.extend(beside(settings).map(|(name, own)| port(name, own, own)));
    let spec = json!({
        "ports": ports,
        "selector": labels(DAEMONS),
    });
    Wanted::of::<Service>(settings, METRICS_SERVICE, &spec)
}

/// What runs beside the daemon, and its port, in the pod as in the Service.
fn beside(settings: &Settings) -> impl Iterator<Item = (&'static str, u16)> {
    let programs = has_recorder(settings).then_some((RECORDER_PORT, recorder::METRICS));
    let logs = has_logs(settings).then_some((LOGS_PORT, logs::METRICS));
    let verifier = has_verifier(settings).then_some((VERIFIER_PORT, verifier::METRICS));
    programs.into_iter().chain(logs).chain(verifier)
}

/// In front of the webhook.
pub(super) fn webhook(settings: &Settings) -> Wanted {
    let spec = json!({
        "ports": [{ "name": WEBHOOK_PORT, "port": 443, "protocol": "TCP", "targetPort": 9443 }],
        "selector": labels(WEBHOOK),
    });
    Wanted::of::<Service>(settings, WEBHOOK_SERVICE, &spec)
}

/// Has Prometheus read the metrics of all processes.
pub(super) fn monitor(settings: &Settings) -> Wanted {
    let insecure = settings.spec.enable_insecure_metrics_access;
    let endpoints: Vec<_> = [PROCESS_PATH, PROFILES_PATH]
        .into_iter()
        .flat_map(|path| {
            let of_node = [PORT]
                .into_iter()
                .chain(beside(settings).map(|(name, _)| name));
            let mut all: Vec<_> = of_node
                .map(|port| {
                    if insecure {
                        json!({ "port": port, "path": path, "interval": "10s", "scheme": "http" })
                    } else {
                        endpoint(settings, port, METRICS_SERVICE, path)
                    }
                })
                .collect();
            let operator = endpoint(settings, OPERATOR_PORT, METRICS_SERVICE, path);
            let webhook = endpoint(settings, WEBHOOK_PORT, WEBHOOK_SERVICE, path);
            all.extend([operator, webhook]);
            all
        })
        .collect();
    let spec = json!({
        "endpoints": endpoints,
        "selector": {
            "matchExpressions": [{ "key": "app", "operator": "In", "values": [MANAGER] }],
        },
    });
    let name = "security-profiles-operator-monitor";
    Wanted {
        defined: true,
        ..Wanted::new(monitors(), settings, name, &spec).optional()
    }
}

fn endpoint(settings: &Settings, port: &str, service: &str, path: &str) -> Value {
    json!({
        "port": port,
        "path": path,
        "interval": "10s",
        "scheme": "https",
        "bearerTokenSecret": { "name": "metrics-token", "key": "token" },
        "tlsConfig": {
            "ca": { "secret": { "name": "metrics-server-cert", "key": "ca.crt" } },
            "serverName": format!("{service}.{}.svc", settings.namespace),
        },
    })
}
