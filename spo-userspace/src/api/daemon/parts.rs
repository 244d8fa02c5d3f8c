//! The sections of the configuration.

use super::{
    Action, Affinity, Deserialize, JsonSchema, LabelSelector, LogSource, Serialize, Toleration,
    schema,
};

/// `SELinux`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selinux {
    /// Whether profiles for `SELinux` are installed. Without a value, where the cluster is known
    /// to use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Whether objects of the kind `RawSelinuxProfile` are installed. Without a value, they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_raw_selinux_profiles: Option<bool>,
    /// The type that the daemons themselves run as.
    #[serde(default = "spc")]
    pub type_tag: String,
    /// What profiles may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = {}))]
    pub options: Option<SelinuxOptions>,
    /// A `ConfigMap` in the operator's namespace with CIL files in place of selinuxd's own
    /// templates.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub custom_templates_config_map: Option<String>,
}

/// What profiles may use. What is denied here is denied even if it is allowed here as well.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelinuxOptions {
    /// The system's policies that profiles may inherit.
    #[serde(default = "container")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_system_profiles: Vec<String>,
    /// Types that no profile may name, beside the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub denied_types: Vec<String>,
    /// Classes that no profile may name, beside the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub denied_classes: Vec<String>,
    /// Permissions that no profile may name, beside the built-in ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub denied_permissions: Vec<String>,
    /// Types that profiles may name although they are denied by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_types: Vec<String>,
    /// Classes that profiles may name although they are denied by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_classes: Vec<String>,
    /// Permissions that profiles may name although they are denied by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_permissions: Vec<String>,
}

/// Enrichers and recorders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enricher {
    /// Whether audit records are logged with the pod that they are about.
    #[serde(default)]
    pub enable_log_enricher: bool,
    /// Whether audit records are summed up per process, as JSON.
    #[serde(default)]
    pub enable_json_enricher: bool,
    /// Whether pods can be recorded by programs in the kernel.
    #[serde(default)]
    pub enable_bpf_recorder: bool,
    /// What the log enricher reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_enricher_source: Option<LogSource>,
    /// What the log enricher leaves out: a JSON list of filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_enricher_filters: Option<String>,
    /// What the JSON enricher leaves out: a JSON list of filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_enricher_filters: Option<String>,
    /// How the JSON enricher writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_enricher_options: Option<JsonEnricherOptions>,
}

/// How the JSON enricher writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JsonEnricherOptions {
    /// For how many seconds the calls of a process are collected for one line; 60 without a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1))]
    pub audit_log_interval_seconds: Option<u32>,
    /// The file to write to; standard output without a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log_path: Option<String>,
    /// After how many megabytes another file is begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1))]
    pub audit_log_max_size: Option<u32>,
    /// How many earlier files are kept; all of them without a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub audit_log_max_backups: Option<u32>,
    /// For how many days earlier files are kept; for ever without a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub audit_log_max_age: Option<u32>,
}

/// Webhooks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Whether the webhooks were installed with the operator, which then leaves them alone.
    #[serde(default)]
    pub static_config: bool,
    /// How single webhooks differ from the usual.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub options: Vec<WebhookOptions>,
}

/// How a webhook differs from the usual.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookOptions {
    /// The webhook, such as `binding.spo.io`.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What happens to a request when the webhook does not answer: `Fail` or `Ignore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "self == 'Fail' || self == 'Ignore'",
        "message": "the API server knows no such policy: set Fail or Ignore"
    }]))]
    pub failure_policy: Option<String>,
    /// The namespaces that the webhook is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// The objects that the webhook is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selector")]
    pub object_selector: Option<LabelSelector>,
}

/// Where the daemons run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// The daemons' tolerations, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Toleration>,
    /// The daemons' affinity, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity")]
    pub affinity: Option<Affinity>,
    /// The daemons' priority class.
    #[serde(default = "node_critical")]
    pub priority_class_name: String,
}

/// What profiles may say.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// The only system calls that seccomp profiles may allow; none means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_syscalls: Vec<String>,
    /// The actions that `allowedSyscalls` is for; none means those that let a call through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub allowed_seccomp_actions: Vec<Action>,
    /// Whether base profiles from a registry are taken without a signature.
    #[serde(default)]
    pub disable_oci_artifact_signature_verification: bool,
    /// Who may have signed a base profile, as a regular expression.
    #[serde(default = "anything")]
    pub allowed_identity_regexp: String,
    /// Who may have vouched for the signer, as a regular expression.
    #[serde(default = "anything")]
    pub allowed_oidc_issuer_regexp: String,
}

fn spc() -> String {
    "spc_t".to_owned()
}

fn container() -> Vec<String> {
    vec!["container".to_owned()]
}

fn node_critical() -> String {
    "system-node-critical".to_owned()
}

/// The expression that every text matches, for whoever does not say another.
pub fn anything() -> String {
    ".*".to_owned()
}
