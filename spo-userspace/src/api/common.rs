//! What several kinds share.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::schema;
use crate::profile::named::{Named, named};

named! {
    /// How far a profile got. Of several nodes, the lowest counts for the profile as a whole:
    /// the order is that of the declaration.
    ProfileStatus, "a profile's status" {
        /// It could not be installed.
        Error = "Error",
        /// It is being removed.
        Terminating = "Terminating",
        /// It is one of several that are still to be merged.
        Partial = "Partial",
        /// It is not to be installed.
        Disabled = "Disabled",
        /// Nothing has happened yet.
        Pending = "Pending",
        /// It is being installed.
        InProgress = "InProgress",
        /// It can be used.
        Installed = "Installed",
    }
}

named! {
    /// A kind of profile that can be bound and recorded.
    ProfileKind, "a kind of profile" {
        /// Seccomp.
        SeccompProfile = "SeccompProfile",
        /// `SELinux`.
        SelinuxProfile = "SelinuxProfile",
        /// `AppArmor`.
        AppArmorProfile = "AppArmorProfile",
    }
}

/// A word of a status; one of a newer version, which this one does not know, counts as none. So that
/// neighbouring versions can read each other's objects.
pub(super) fn known<'de, T: Named, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let word: Option<Cow<'de, str>> = Option::deserialize(deserializer)?;
    Ok(word.and_then(|word| T::from_name(&word)))
}

/// On how many nodes a profile is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCount {
    /// Nodes that have the profile as it is now.
    #[schemars(with = "i32", range(min = 0))]
    pub ready: u32,
    /// Nodes that should have it.
    #[schemars(with = "i32", range(min = 0))]
    pub desired: u32,
}

/// The status of a profile that pods name by its own name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusBase {
    /// `Ready` says whether the profile can be used on every node, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The lowest status that the profile has on any node.
    #[serde(
        default,
        deserialize_with = "known",
        skip_serializing_if = "Option::is_none"
    )]
    pub status: Option<ProfileStatus>,
    /// How many nodes have the profile, and how many should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCount>,
    /// The pods that use the profile, as `namespace/pod`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub active_workloads: Vec<String>,
}

/// The status of profiles for `SELinux`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelinuxStatus {
    /// `Ready` says whether the profile can be used on every node, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The lowest status that the profile has on any node.
    #[serde(
        default,
        deserialize_with = "known",
        skip_serializing_if = "Option::is_none"
    )]
    pub status: Option<ProfileStatus>,
    /// What a pod names as `seLinuxOptions.type` to run under the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// The pods that use the profile, as `namespace/pod`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub active_workloads: Vec<String>,
    /// How many nodes have the profile, and how many should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCount>,
}
