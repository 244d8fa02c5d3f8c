//! The Kubernetes API: the eight kinds, their custom resource definitions, the check of an
//! object against them, and the way from and to older versions. Nothing here talks to a cluster.
//!
//! There is one version of each kind, `v1`, as the reference has it. The older ones are never
//! served; [`convert`] reads them. What is said of a field here becomes its description in
//! `deploy/crds/`, so that documentation is for users as much as for programmers.

pub mod apparmor_profile;
pub mod bindings;
mod cel;
mod check;
pub mod common;
pub mod convert;
pub mod crds;
pub mod daemon;
mod identifier;
mod json;
pub mod marks;
pub mod names;
pub mod node_status;
pub mod pods;
pub mod profile_binding;
pub mod profile_recording;
pub mod raw_selinux_profile;
mod read;
mod schema;
pub mod seccomp_profile;
pub mod selinux_profile;
pub mod webhooks;

pub use self::apparmor_profile::{AppArmorProfile, AppArmorProfileSpec};
pub use self::daemon::{SecurityProfilesOperatorDaemon, SecurityProfilesOperatorDaemonSpec};
pub(crate) use self::identifier::{
    Identifier, LAST_APPLIED, PROFILES, came_from_server, forget_server,
};
pub(crate) use self::json::of_tree as as_json;
pub use self::node_status::{SecurityProfileNodeStatus, SecurityProfileNodeStatusSpec};
pub use self::profile_binding::{ProfileBinding, ProfileBindingSpec};
pub use self::profile_recording::{ProfileRecording, ProfileRecordingSpec};
pub use self::raw_selinux_profile::{RawSelinuxProfile, RawSelinuxProfileSpec};
pub use self::read::{LINTS, Object, SAME_OBJECT, check, read};
pub(crate) use self::read::{read_parsed, upgrade};
pub use self::seccomp_profile::{SeccompProfile, SeccompProfileSpec};
pub use self::selinux_profile::{SelinuxProfile, SelinuxProfileSpec};
