//! `SecurityProfilesOperatorDaemon`: the operator's configuration.

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::profile::named::named;
use crate::profile::seccomp::Action;

mod parts;

pub use self::parts::{
    Enricher, JsonEnricherOptions, Scheduling, Security, Selinux, SelinuxOptions, Webhook,
    WebhookOptions, anything,
};

named! {
    /// What the log enricher reads.
    LogSource, "a source of audit records" {
        /// What auditd writes.
        Auditd = "Auditd",
        /// Programs in the kernel.
        Bpf = "Bpf",
    }
}

named! {
    /// How far the daemons got.
    DaemonState, "a state of the daemons" {
        /// Nothing has happened yet.
        Pending = "Pending",
        /// They are being created.
        Creating = "Creating",
        /// They are being replaced.
        Updating = "Updating",
        /// They run on every node.
        Running = "Running",
        /// They could not be created.
        Error = "Error",
    }
}

/// The operator's configuration.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the reference's, and none depends on another"
)]
#[derive(Clone, Debug, Default, PartialEq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security-profiles-operator.x-k8s.io",
    version = "v1",
    kind = "SecurityProfilesOperatorDaemon",
    plural = "securityprofilesoperatordaemons",
    shortname = "spod",
    category = "spo",
    namespaced,
    status = "SecurityProfilesOperatorDaemonStatus",
    derive = "PartialEq",
    doc = "The operator's configuration: what its daemons do on the nodes, and where they run.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state")
)]
#[serde(rename_all = "camelCase")]
pub struct SecurityProfilesOperatorDaemonSpec {
    /// How much the daemons log; 0 is the least.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub verbosity: Option<u32>,
    /// Whether the daemons can be profiled over the network.
    #[serde(default)]
    pub enable_profiling: bool,
    /// Whether the daemons know only pods with the label `spo.x-k8s.io/enable-recording=true`.
    /// Saves memory; pods that are recorded must then have the label.
    #[serde(default)]
    pub enable_memory_optimization: bool,
    /// Whether metrics are served without encryption and to anybody.
    #[serde(default)]
    pub enable_insecure_metrics_access: bool,
    /// Whether profiles for `AppArmor` are installed. The daemons are privileged then.
    #[serde(default)]
    pub enable_app_armor: bool,
    /// Whether it is verified all the time that containers have their profiles. The daemons' pods see the
    /// processes of their nodes then.
    #[serde(default)]
    pub enable_verifier: bool,
    /// Where the host's `/proc` is, if it is elsewhere, as on nodes that are containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^/([^/]+/)*[^/]*proc(/.*)?$"),
        extend("x-kubernetes-validations" = [{
            "rule": "!self.matches('(^|/)[.][.](/|$)')",
            "message": "a pod cannot mount a path with two dots as a part: give the path that it leads to"
        }])
    )]
    pub host_proc_volume_path: Option<String>,
    /// The secrets for pulling the daemons' images, in the operator's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The resources of the daemon's own container, in place of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub daemon_resource_requirements: Option<ResourceRequirements>,
    /// `SELinux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux: Option<Selinux>,
    /// Enrichers and recorders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enricher: Option<Enricher>,
    /// Webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Where the daemons run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
    /// What profiles may say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
}

/// How far the daemons got.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityProfilesOperatorDaemonStatus {
    /// `Ready` says whether the daemons run on every node, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// How far the daemons got.
    #[serde(
        default,
        deserialize_with = "super::common::known",
        skip_serializing_if = "Option::is_none"
    )]
    pub state: Option<DaemonState>,
}
