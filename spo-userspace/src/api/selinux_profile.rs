//! `SelinuxProfile`.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are no duplicates"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::SelinuxStatus;
use super::schema;
use crate::profile::named::named;
use crate::profile::state::State;

named! {
    /// Whether a profile for `SELinux` is enforced.
    SelinuxMode, "a mode" {
        /// What is not allowed is denied.
        Enforcing = "Enforcing",
        /// What is not allowed is only logged.
        Permissive = "Permissive",
    }
}

named! {
    /// Where an inherited policy comes from.
    PolicyKind, "a kind of policy" {
        /// It is part of the system's policy.
        System = "System",
        /// It is another profile.
        SelinuxProfile = "SelinuxProfile",
    }
}

/// What a container may do, in terms of `SELinux`.
#[derive(Clone, Debug, PartialEq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security-profiles-operator.x-k8s.io",
    version = "v1",
    kind = "SelinuxProfile",
    plural = "selinuxprofiles",
    category = "spo",
    status = "SelinuxStatus",
    derive = "PartialEq",
    doc = "An SELinux profile: what a container may do beyond what it inherits.",
    printcolumn(name = "Usage", type_ = "string", json_path = ".status.usage"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.status"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.nodes.ready"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.desired")
)]
#[serde(rename_all = "camelCase")]
pub struct SelinuxProfileSpec {
    /// Whether the profile is to be installed on the nodes.
    #[serde(default = "schema::enabled")]
    pub state: State,
    /// The namespaces whose pods may use the profile; none means all of them. Pods of others are
    /// refused when they are created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::checked_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// The policies that the profile adds to.
    #[serde(default = "container")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub inherit: Vec<PolicyRef>,
    /// Whether what is not allowed is denied, or only logged.
    #[serde(default = "enforcing")]
    pub mode: SelinuxMode,
    /// The permissions by class, by target type; `@self` is the container's own type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allow: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// A policy by its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    /// Where the policy comes from. Policies of the system must be allowed in the operator's
    /// configuration.
    #[serde(default = "system")]
    pub kind: PolicyKind,
    /// The policy's name.
    #[schemars(length(min = 1))]
    pub name: String,
}

fn container() -> Vec<PolicyRef> {
    vec![PolicyRef {
        kind: PolicyKind::System,
        name: "container".to_owned(),
    }]
}

fn enforcing() -> SelinuxMode {
    SelinuxMode::Enforcing
}

fn system() -> PolicyKind {
    PolicyKind::System
}
