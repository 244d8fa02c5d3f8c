//! `ProfileRecording`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
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
}

fn bpf() -> Recorder {
    Recorder::Bpf
}

fn separate() -> MergeStrategy {
    MergeStrategy::None
}
