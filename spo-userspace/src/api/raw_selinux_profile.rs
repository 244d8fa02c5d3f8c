//! `RawSelinuxProfile`.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are no duplicates"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::SelinuxStatus;
use super::schema;
use crate::profile::state::State;

/// A policy for `SELinux` as text.
#[derive(Clone, Debug, PartialEq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security-profiles-operator.x-k8s.io",
    version = "v1",
    kind = "RawSelinuxProfile",
    plural = "rawselinuxprofiles",
    category = "spo",
    status = "SelinuxStatus",
    derive = "PartialEq",
    doc = "An SELinux profile written in CIL.",
    printcolumn(name = "Usage", type_ = "string", json_path = ".status.usage"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.status"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.nodes.ready"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.desired")
)]
#[serde(rename_all = "camelCase")]
pub struct RawSelinuxProfileSpec {
    /// Whether the profile is to be installed on the nodes.
    #[serde(default = "schema::enabled")]
    pub state: State,
    /// The namespaces whose pods may use the profile; none means all of them. Pods of others are
    /// refused when they are created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::checked_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// The policy in CIL, without the block around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 500_000),
        extend("x-kubernetes-validations" = [{
            "rule": "size(self.trim()) > 0",
            "message": "the policy is blank: write its statements in CIL"
        }])
    )]
    pub policy: Option<String>,
}
