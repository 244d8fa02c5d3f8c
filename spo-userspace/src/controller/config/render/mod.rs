//! The objects that run, as the configuration wants them. Pure: the same configuration gives the
//! same objects, whatever was there before.

mod beside;
mod daemons;
mod logs;
mod recorder;
mod services;
mod verifier;
mod webhook;

use kube::Resource;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::api::daemon::SecurityProfilesOperatorDaemonSpec;
use crate::api::names;
pub(super) use crate::api::webhooks::{DEPLOYMENT as WEBHOOK, SERVICE as WEBHOOK_SERVICE};
use crate::cluster::MANAGER;
use crate::controller::status::DAEMONS;
use crate::node::setup::{DAEMON as USER, ROOT};

/// The operator's own Deployment.
pub(super) const OPERATOR: &str = "security-profiles-operator";
/// The Service in front of the daemons' metrics.
pub(super) const METRICS_SERVICE: &str = "metrics";
/// The containers that record, beside the daemons'.
pub(super) const RECORDERS: &[&str] = &[recorder::NAME, logs::NAME];
/// The container that verifies, beside the daemons'.
pub(super) const VERIFIERS: &[&str] = &[verifier::NAME];

/// What the objects depend on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// The operator's namespace.
    pub(super) namespace: String,
    /// The kubelet's folder, on the nodes.
    pub(super) kubelet: String,
    /// The configuration's own identity, of which the objects are a part.
    pub(super) uid: String,
    pub(super) spec: SecurityProfilesOperatorDaemonSpec,
    /// What the operator's own Deployment says.
    pub(super) own: Own,
    /// Whether the operator manages the webhook's objects.
    pub(super) webhook: bool,
    /// Whether the cluster knows objects of the kind `ServiceMonitor`.
    pub(super) monitors: bool,
}

/// What is taken from the operator's own Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Own {
    pub(super) image: String,
    pub(super) pull_policy: Option<String>,
    /// `imagePullSecrets`, `tolerations` and `nodeSelector`, for the webhook, which runs where the
    /// operator does.
    pub(super) pull_secrets: Value,
    pub(super) tolerations: Value,
    pub(super) node_selector: Value,
}

/// An object as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) resource: ApiResource,
    pub(super) name: String,
    pub(super) object: Value,
    /// Whether clusters may lack the kind: then there is no such object, and all else works.
    pub(super) optional: bool,
    /// Whether the cluster has a definition of the kind: one of its servers may learn of it a moment
    /// later than the others.
    pub(super) defined: bool,
    /// A hash of the object.
    pub(super) hash: String,
}

impl Wanted {
    fn new(resource: ApiResource, settings: &Settings, name: &str, spec: &Value) -> Self {
        let labels = json!({ "app": MANAGER });
        let object = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name,
                "namespace": settings.namespace,
                "labels": labels,
                "ownerReferences": [owner(settings)],
            },
            "spec": spec,
        });
        Self {
            name: name.to_owned(),
            hash: names::digest(object.to_string()),
            resource,
            object,
            optional: false,
            defined: false,
        }
    }

    fn of<K: Resource<DynamicType = ()>>(settings: &Settings, name: &str, spec: &Value) -> Self {
        Self::new(ApiResource::erase::<K>(&()), settings, name, spec)
    }

    fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    /// What the object is called among all of them.
    pub(super) fn key(&self) -> Key {
        key(&self.resource.kind, &self.name)
    }
}

/// `Kind/name`.
pub(super) type Key = String;

pub(super) fn key(kind: &str, name: &str) -> Key {
    format!("{kind}/{name}")
}

/// All of them, in the order in which they are written.
pub(super) fn render(settings: &Settings) -> Vec<Wanted> {
    let mut all = vec![services::metrics(settings), daemons::daemons(settings)];
    if settings.webhook && !is_static(&settings.spec) {
        all.push(services::webhook(settings));
        all.push(webhook::deployment(settings));
        all.push(webhook::budget(settings));
    }
    if settings.monitors {
        all.push(services::monitor(settings));
    }
    all
}

/// Whether somebody else manages the webhook, and all its objects are left as they are.
pub(super) fn is_static(spec: &SecurityProfilesOperatorDaemonSpec) -> bool {
    spec.webhook
        .as_ref()
        .is_some_and(|webhook| webhook.static_config)
}

/// Whether programs in the kernel record, beside the daemons.
fn has_recorder(settings: &Settings) -> bool {
    let enricher = settings.spec.enricher.as_ref();
    enricher.is_some_and(|enricher| enricher.enable_bpf_recorder)
}

/// Whether audit records are read, beside the daemons.
fn has_logs(settings: &Settings) -> bool {
    let enricher = settings.spec.enricher.as_ref();
    enricher.is_some_and(|enricher| enricher.enable_log_enricher)
}

/// Whether containers are verified, beside the daemons.
fn has_verifier(settings: &Settings) -> bool {
    settings.spec.enable_verifier
}

/// The reference to the configuration. When it is deleted, so are the objects. Deleting it never
/// waits for them: that would need a right of its own on some clusters.
fn owner(settings: &Settings) -> Value {
    json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "SecurityProfilesOperatorDaemon",
        "name": DAEMONS,
        "uid": settings.uid,
        "controller": true,
        "blockOwnerDeletion": false,
    })
}

/// The labels by which pods are found; those of the reference.
fn labels(name: &str) -> Value {
    json!({ "app": MANAGER, "name": name })
}

fn monitors() -> ApiResource {
    let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor");
    ApiResource::from_gvk_with_plural(&kind, "servicemonitors")
}

/// Environment variables that a process in the cluster needs.
fn environment(settings: &Settings) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let verbosity = settings.spec.verbosity.unwrap_or(0).to_string();
    vec![
        field("NODE_NAME", "spec.nodeName"),
        field("OPERATOR_NAMESPACE", "metadata.namespace"),
        field("POD_NAME", "metadata.name"),
        json!({ "name": "SPOD_NAME", "value": DAEMONS }),
        json!({ "name": "SPO_VERBOSITY", "value": verbosity }),
    ]
}

/// The security context of a container, which needs nothing but what is named.
fn confined(user: u32, capabilities: &[&str], seccomp: Option<&str>) -> Value {
    let mut drop = json!({ "drop": ["ALL"] });
    if !capabilities.is_empty() {
        drop["add"] = json!(capabilities);
    }
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": drop,
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": user,
        "runAsNonRoot": user != 0,
        "runAsUser": user,
    });
    if let Some(file) = seccomp {
        context["seccompProfile"] = json!({ "type": "Localhost", "localhostProfile": file });
    }
    context
}

/// A question to `/healthz` and the like.
fn asks(path: &str, period: u32, failures: u32) -> Value {
    asks_at("liveness-port", path, period, failures)
}

fn asks_at(port: &str, path: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": port, "scheme": "HTTP" },
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
