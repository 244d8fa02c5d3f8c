//! `SecurityProfileNodeStatus`.
#![expect(
    clippy::duplicated_attributes,
    reason = "columns of one type are no duplicates"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::ProfileStatus;
use crate::profile::named::named;

/// How far a profile got on one node.
#[derive(Clone, Debug, PartialEq, Eq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security-profiles-operator.x-k8s.io",
    version = "v1",
    kind = "SecurityProfileNodeStatus",
    plural = "securityprofilenodestatuses",
    shortname = "spns",
    category = "spo",
    status = "NodeStatus",
    derive = "PartialEq",
    doc = "How far a profile got on one node. The daemon of the node writes it; its owner is the profile.",
    printcolumn(name = "Status", type_ = "string", json_path = ".status.status"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".spec.nodeName",
        priority = 10
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.reason",
        priority = 10
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SecurityProfileNodeStatusSpec {
    /// The node.
    #[schemars(length(min = 1))]
    pub node_name: String,
}

/// The status on the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// How far the profile got.
    #[serde(
        default,
        deserialize_with = "super::common::known",
        skip_serializing_if = "Option::is_none"
    )]
    pub status: Option<ProfileStatus>,
    /// Why, in one word that programs compare; without a value there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, for people: what is wrong and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub message: Option<String>,
    /// What the node has: `sha256:` and the digest of the file's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The `metadata.generation` of the profile that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the status became what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Of an installed profile that was recorded on something else than this node: the architecture, the
    /// series of the kernel or the container runtime that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub recorded_elsewhere: Option<String>,
}

named! {
    /// What daemons write as [`NodeStatus::reason`].
    Reason, "a reason" {
        /// The profile is wrong, or one of its bases is.
        InvalidSeccompProfile = "InvalidSeccompProfile",
        /// The cluster's configuration does not allow it.
        ProfileNotAllowed = "ProfileNotAllowed",
        /// The cluster's configuration does not allow it any more: the node had this very version.
        NoLongerAllowed = "NoLongerAllowed",
        /// The cluster's configuration allows it, but not what its bases add.
        BaseNotAllowed = "BaseNotAllowed",
        /// What the cluster allows is not known: there is no configuration.
        NoConfiguration = "NoConfiguration",
        /// We cannot do what it asks for.
        Unsupported = "Unsupported",
        /// The node's kernel cannot.
        SeccompNotSupportedOnNode = "SeccompNotSupportedOnNode",
        /// The file cannot be written.
        CannotSaveSeccompProfile = "CannotSaveSeccompProfile",
        /// The file cannot be removed.
        CannotRemoveSeccompProfile = "CannotRemoveSeccompProfile",
        /// Another profile has the same file.
        NameCollision = "NameCollision",
        /// The folder of profiles is gone, we may not write into it, or the kubelet does not find it.
        FolderUnusable = "FolderUnusable",
        /// What is not ours keeps `node-setup` from setting up the node.
        SetupBlocked = "SetupBlocked",
        /// Pods use the profile, so that it stays.
        InUse = "InUse",
    }
}
