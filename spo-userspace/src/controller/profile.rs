//! What the four kinds of profiles have in common.

use std::fmt::{Display, Formatter, Result as FmtResult};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::core::{ApiResource, ClusterResourceScope};
use serde::de::DeserializeOwned;

use crate::api::common::{NodeCount, ProfileStatus};
use crate::api::{AppArmorProfile, RawSelinuxProfile, SeccompProfile, SelinuxProfile};
use crate::api::{names, pods};
use crate::profile::state::State;

/// A kind of profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `SeccompProfile`.
    Seccomp,
    /// `SelinuxProfile`.
    Selinux,
    /// `RawSelinuxProfile`.
    RawSelinux,
    /// `AppArmorProfile`.
    AppArmor,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Seccomp,
        Self::Selinux,
        Self::RawSelinux,
        Self::AppArmor,
    ];

    /// As objects name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seccomp => "SeccompProfile",
            Self::Selinux => "SelinuxProfile",
            Self::RawSelinux => "RawSelinuxProfile",
            Self::AppArmor => "AppArmorProfile",
        }
    }

    /// Where its objects are on the server.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Seccomp => ApiResource::erase::<SeccompProfile>(&()),
            Self::Selinux => ApiResource::erase::<SelinuxProfile>(&()),
            Self::RawSelinux => ApiResource::erase::<RawSelinuxProfile>(&()),
            Self::AppArmor => ApiResource::erase::<AppArmorProfile>(&()),
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A profile of any kind. All kinds are of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileKey {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl Display for ProfileKey {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FmtResult {
        write!(formatter, "{}/{}", self.kind.name(), self.name)
    }
}

/// What an object's status says now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// `status`.
    pub status: Option<ProfileStatus>,
    /// `conditions`.
    pub conditions: Vec<Condition>,
    /// `activeWorkloads`.
    pub pods: Vec<String>,
    /// `nodes`.
    pub nodes: Option<NodeCount>,
    /// `localhostProfile` or `usage`.
    pub usage: Option<String>,
}

/// One of the four kinds.
pub trait Profile:
    Resource<DynamicType = (), Scope = ClusterResourceScope> + DeserializeOwned + Clone
{
    /// Which.
    const KIND: Kind;

    /// Whether it is to be installed.
    fn state(&self) -> State;

    /// What its status says.
    fn known(&self) -> Known;

    /// What a pod names to run under it, and the field of the status that says so.
    fn usage(name: &str) -> Option<(&'static str, String)>;
}

/// `$usage` is the field of the status that says what a pod names, where there is one, and what it
/// names, by the profile's name.
macro_rules! profile {
    ($type:ident, $kind:ident $(, $field:ident $name:literal $usage:path)?) => {
        impl Profile for $type {
            const KIND: Kind = Kind::$kind;

            fn state(&self) -> State {
                self.spec.state
            }

            fn known(&self) -> Known {
                let Some(status) = self.status.clone() else {
                    return Known::default();
                };
                Known {
                    status: status.status,
                    conditions: status.conditions,
                    pods: status.active_workloads,
                    nodes: status.nodes,
                    usage: None $(.or(status.$field))?,
                }
            }

            fn usage(_name: &str) -> Option<(&'static str, String)> {
                None $(.or_else(|| Some(($name, $usage(_name)))))?
            }
        }
    };
}

profile!(SeccompProfile, Seccomp, localhost_profile "localhostProfile" names::localhost_profile);
profile!(SelinuxProfile, Selinux, usage "usage" pods::selinux_type);
profile!(RawSelinuxProfile, RawSelinux, usage "usage" pods::selinux_type);
profile!(AppArmorProfile, AppArmor);
