//! `SeccompProfile`.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are no duplicates"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{NodeCount, ProfileStatus};
use super::schema;
use crate::profile::seccomp::{Action, Architecture, Flag, Operator};
use crate::profile::state::State;

mod model;

pub use self::model::NotAnObject;

/// Which system calls a container may make.
#[derive(Clone, Debug, PartialEq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security-profiles-operator.x-k8s.io",
    version = "v1",
    kind = "SeccompProfile",
    plural = "seccompprofiles",
    shortname = "sp",
    category = "spo",
    status = "SeccompProfileStatus",
    derive = "PartialEq",
    doc = "A seccomp profile: which system calls a container may make.",
    printcolumn(name = "Status", type_ = "string", json_path = ".status.status"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "LocalhostProfile",
        type_ = "string",
        json_path = ".status.localhostProfile",
        priority = 10
    ),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.nodes.ready"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.desired")
)]
#[serde(rename_all = "camelCase")]
pub struct SeccompProfileSpec {
    /// Whether the profile is to be installed on the nodes.
    #[serde(default = "schema::enabled")]
    pub state: State,
    /// The namespaces whose pods may use the profile; none means all of them. Pods of others are
    /// refused when they are created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::checked_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// A profile whose rules this one adds to: the name of another `SeccompProfile`, or `oci://`
    /// and an image reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "self == '' || self.startsWith('oci://') || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        "message": "no SeccompProfile can have this name: give the metadata.name of one, or oci:// and an image"
    }]))]
    pub base_profile_name: Option<String>,
    /// What happens to system calls without a rule.
    pub default_action: Action,
    /// The architectures that the rules are for; none means the node's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub architectures: Vec<Architecture>,
    /// The socket of the agent that `SCMP_ACT_NOTIFY` asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/var/run/security-profiles-operator/[a-zA-Z0-9_\-\.]+$"))]
    pub listener_path: Option<String>,
    /// What the agent is told besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// How the filter is loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub flags: Vec<Flag>,
    /// The rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub syscalls: Vec<Syscall>,
}

/// A rule: what happens to some system calls.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Syscall {
    /// The system calls.
    #[schemars(length(min = 1), extend("x-kubernetes-list-type" = "set"))]
    pub names: Vec<String>,
    /// What happens to them.
    pub action: Action,
    /// The error number of `SCMP_ACT_ERRNO`, or what `SCMP_ACT_TRACE` tells the tracer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub errno_ret: Option<u32>,
    /// The rule is for calls only whose arguments meet all of these conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<Arg>,
}

/// A condition on an argument of a system call.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Arg {
    /// Which argument, from 0 to 5.
    #[schemars(with = "i32", range(min = 0))]
    pub index: u32,
    /// What the argument is compared with; for `SCMP_CMP_MASKED_EQ` the mask.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(with = "i64", range(min = 0))]
    pub value: u64,
    /// What the masked argument is compared with; for `SCMP_CMP_MASKED_EQ` only.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(with = "i64", range(min = 0))]
    pub value_two: u64,
    /// How the argument is compared, as an unsigned number.
    pub op: Operator,
}

/// What is known about an installed profile.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeccompProfileStatus {
    /// `Ready` says whether the profile can be used on every node, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The lowest status that the profile has on any node.
    #[serde(
        default,
        deserialize_with = "super::common::known",
        skip_serializing_if = "Option::is_none"
    )]
    pub status: Option<ProfileStatus>,
    /// The profile's file on the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The pods that use the profile, as `namespace/pod`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub active_workloads: Vec<String>,
    /// What a pod names as `seccompProfile.localhostProfile` to run under the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub localhost_profile: Option<String>,
    /// How many nodes have the profile, and how many should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCount>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands it in by reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
