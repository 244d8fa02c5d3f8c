//! How profiles say that they were recorded, and of what.

/// On a profile that is one of several to be merged: it is not installed.
pub const PARTIAL: &str = "spo.x-k8s.io/partial";
/// The label of a recorded profile with its recording.
pub const RECORDING_ID: &str = "spo.x-k8s.io/recording-id";
/// The label of a recorded profile with its recording's namespace.
pub const RECORDING_NAMESPACE: &str = "spo.x-k8s.io/recording-namespace";
/// The label of a recorded profile with the container's name.
pub const CONTAINER_ID: &str = "spo.x-k8s.io/container-id";
/// The annotation of a profile of several that were merged: how many of them had each call, as JSON.
pub const COVERAGE: &str = "spo.x-k8s.io/syscall-coverage";
