//! `ProfileRecording`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::ProfileKind;
use super::schema;
use crate::profile::named::named;

named! {
    /// What watches the containers.
    Recorder, "a recorder" {
        /// Programs in the kernel.
        Bpf = "Bpf",
        /// The audit log.
        Logs = "Logs",
    }
}

named! {
    /// What becomes of several profiles of one container.
    MergeStrategy, "a merge strategy" {
        /// They stay as they are.
        None = "None",
        /// They become one when the recording is deleted.
        Containers = "Containers",
    }
}

/// Makes profiles of what pods do.
#[derive(Clone, Debug, PartialEq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security-profiles-operator.x-k8s.io",
    version = "v1",
    kind = "ProfileRecording",
    plural = "profilerecordings",
    category = "spo",
    namespaced,
    status = "ProfileRecordingStatus",
    derive = "PartialEq",
    doc = "Makes profiles of what the pods of the recording's namespace do.",
    printcolumn(
        name = "PodSelector",
        type_ = "string",
        json_path = ".spec.podSelector",
        priority = 10
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.kind != 'SelinuxProfile' || self.recorder == 'Logs'",
        "message": "a SelinuxProfile is recorded from the audit log only: set recorder to Logs"
    },
    {
        "rule": "self.kind != 'AppArmorProfile' || self.recorder == 'Bpf'",
        "message": "an AppArmorProfile is recorded by programs in the kernel only: set recorder to Bpf"
    }
]))]
pub struct ProfileRecordingSpec {
    /// The kind of profile to make.
    pub kind: ProfileKind,
    /// What watches the containers. `AppArmorProfile` needs `Bpf`, `SelinuxProfile` needs `Logs`.
    #[serde(default = "bpf")]
    pub recorder: Recorder,
    /// Whether the profiles of the replicas of a container become one when the recording is
    /// deleted.
    #[serde(default = "separate")]
    pub merge_strategy: MergeStrategy,
    /// The pods to record; an empty one means every pod of the namespace.
    #[schemars(schema_with = "schema::checked_selector")]
    pub pod_selector: LabelSelector,
    /// The containers to record; none means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub containers: Vec<String>,
    /// Whether the profiles are made with `state: Disabled`, so that nothing installs them.
    #[serde(default)]
    pub disable_profile_after_recording: bool,
}

/// What is known about a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileRecordingStatus {
    /// The pods that are recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub active_workloads: Vec<String>,
    /// What each node has recorded so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub nodes: Vec<RecordingNode>,
}

/// What a node has recorded so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingNode {
    /// The node.
    pub name: String,
    /// The pods that it records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub pods: Vec<String>,
    /// The containers, each over all pods of the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub containers: Vec<RecordedContainer>,
    /// How many sets of system calls the node had no room for, of all its recordings.
    #[serde(default)]
    #[schemars(with = "i64", range(min = 0))]
    pub dropped: u64,
}

/// What is known of a container that is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedContainer {
    /// The container.
    pub name: String,
    /// How many different system calls it made.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0))]
    pub syscalls: u32,
    /// When it made one that it had not made before, for the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_new_time: Option<Time>,
    /// In how many pods it was seen.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0))]
    pub replicas: u32,
    /// How many of them made all of the system calls.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0))]
    pub agreeing: u32,
    /// In how many it runs.
    #[serde(default)]
    #[schemars(with = "i32", range(min = 0))]
    pub running: u32,
    /// How much may be missing, by what was counted as lost.
    #[serde(default)]
    #[schemars(with = "i64", range(min = 0))]
    pub lost: u64,
    /// Why what is recorded cannot be complete; nothing if it can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub incomplete: Vec<String>,
}

fn bpf() -> Recorder {
    Recorder::Bpf
}

fn separate() -> MergeStrategy {
    MergeStrategy::None
}
