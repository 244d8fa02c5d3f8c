//! `AppArmorProfile`.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are no duplicates"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::rules::Rules;
use super::common::StatusBase;
use super::schema;
use crate::profile::named::named;
use crate::profile::state::State;

pub mod rules;

named! {
    /// Whether a profile for `AppArmor` is enforced.
    AppArmorMode, "a mode" {
        /// What is not allowed is denied.
        Enforce = "Enforce",
        /// What is not allowed is only logged.
        Complain = "Complain",
    }
}

/// What a container may do, in terms of `AppArmor`.
#[derive(Clone, Debug, PartialEq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security-profiles-operator.x-k8s.io",
    version = "v1",
    kind = "AppArmorProfile",
    plural = "apparmorprofiles",
    shortname = "aa",
    category = "spo",
    status = "StatusBase",
    derive = "PartialEq",
    doc = "An AppArmor profile: the files, networks and capabilities that a container may use.",
    printcolumn(name = "Status", type_ = "string", json_path = ".status.status"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.nodes.ready"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.desired")
)]
#[serde(rename_all = "camelCase")]
pub struct AppArmorProfileSpec {
    /// Whether the profile is to be installed on the nodes.
    #[serde(default = "schema::enabled")]
    pub state: State,
    /// The namespaces whose pods may use the profile; none means all of them. Pods of others are
    /// refused when they are created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::checked_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Whether what is not allowed is denied, or only logged.
    #[serde(default = "enforce")]
    pub mode: AppArmorMode,
    /// What is allowed.
    #[serde(rename = "abstract", skip_serializing_if = "Option::is_none")]
    pub abstract_: Option<Abstract>,
}

/// The parts of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Abstract {
    /// Programs and libraries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Executable>,
    /// Files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
    /// Networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
    /// What the fields of the reference cannot say. Older API servers drop it, and older clients
    /// see the profile without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Rules>,
}

/// Programs and libraries, as absolute paths with the globs of `AppArmor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Executable {
    /// Programs that may be started; they stay under the profile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_executables: Vec<String>,
    /// Libraries that may be mapped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_libraries: Vec<String>,
}

/// Files, as absolute paths with the globs of `AppArmor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Filesystem {
    /// Files that may be read. Writing them is denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub read_only_paths: Vec<String>,
    /// Files that may be written. Reading them is denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub write_only_paths: Vec<String>,
    /// Files that may be read and written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub read_write_paths: Vec<String>,
}

/// Networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Whether raw sockets may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_raw: Option<bool>,
    /// The protocols that may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_protocols: Option<Protocols>,
}

/// Protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Protocols {
    /// Whether TCP may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_tcp: Option<bool>,
    /// Whether UDP may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_udp: Option<bool>,
}

/// Capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// Capabilities that may be used, in lower case and without `CAP_`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_capabilities: Vec<String>,
}

fn enforce() -> AppArmorMode {
    AppArmorMode::Enforce
}
