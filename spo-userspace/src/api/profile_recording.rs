//! `ProfileRecording`.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use k8s_openapi::jiff::SignedDuration;
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
    /// When the recording ends by itself; without it, it ends when it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
}

/// When a recording ends by itself: as soon as one of these is so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline, extend("minProperties" = 1))]
#[serde(rename_all = "camelCase")]
pub struct Finish {
    /// So long after the first container was recorded, such as `1h30m`, `10m` or `45s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::period")]
    pub after: Option<String>,
    /// When no container has made a system call for so long that it had not made before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::period")]
    pub quiet: Option<String>,
    /// When this Job of the recording's namespace has completed, or has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub job: Option<String>,
}

/// Reads a time such as `1h30m`; the schema takes no other.
pub fn period(text: &str) -> Option<Duration> {
    let period: SignedDuration = text.parse().ok()?;
    period.try_into().ok()
}

/// How often a node says at most how far a recording is of which so many nodes tell. What one says is sent
/// to all nodes, with what all others said, so that together they say something once a second.
pub fn pace(nodes: usize) -> Duration {
    Duration::from_secs(u64::try_from(nodes).unwrap_or(u64::MAX).max(5))
}

/// The type of the condition of a recording that has ended by a rule.
pub const FINISHED: &str = "Finished";
/// Its reasons.
pub const TIME_OVER: &str = "TimeOver";
/// No new calls came.
pub const QUIET: &str = "Quiet";
/// The job completed.
pub const JOB_COMPLETED: &str = "JobCompleted";
/// The job failed.
pub const JOB_FAILED: &str = "JobFailed";

impl ProfileRecording {
    /// What is said of its end by a rule: `True` as soon as all nodes have handed in what they have. Nodes
    /// record nothing more for it as soon as it is there.
    pub fn finished(&self) -> Option<&Condition> {
        let mut conditions = self.status.iter().flat_map(|status| &status.conditions);
        conditions.find(|condition| condition.type_ == FINISHED)
    }
}

/// What is known about a recording.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
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
    /// When the first container was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// `Finished` is there once the recording has ended by a rule, which is its reason. It is `True` when
    /// all nodes have handed in what they recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
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
    /// The last value of the annotation `spo.x-k8s.io/take` for which the node has written its profiles, or
    /// the beginning of one that is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// Whether the node has handed in all that it recorded, as the recording is finished.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
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
