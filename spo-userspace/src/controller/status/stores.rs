//! What is known of the cluster.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt as _};

use super::departed::Departed;
use super::missing::Told;
use super::observe::Guarded;
use super::plan::Report;
use super::reports::Reports;
use crate::api::{AppArmorProfile, RawSelinuxProfile, SeccompProfile, SelinuxProfile};
use crate::controller::bases::Bases;
use crate::controller::index::Index;
use crate::controller::profile::{Profile, ProfileKey};

/// The objects that are watched, and which belong together.
pub(super) struct Stores {
    pub(super) seccomp: Store<Guarded<SeccompProfile>>,
    pub(super) selinux: Store<Guarded<SelinuxProfile>>,
    pub(super) raw_selinux: Store<Guarded<RawSelinuxProfile>>,
    pub(super) apparmor: Store<Guarded<AppArmorProfile>>,
    /// Those that name a profile.
    pub(super) pods: Store<Pod>,
    pub(super) nodes: Store<Node>,
    pub(super) daemons: Store<DaemonSet>,
    pub(super) indexes: Mutex<Indexes>,
}

#[derive(Default)]
pub(super) struct Indexes {
    /// Pods, as `namespace/name`, by the profiles that they name.
    pub(super) pods: Index<ProfileKey>,
    pub(super) reports: Reports,
    /// Which seccomp profiles stand on which.
    pub(super) bases: Bases,
    /// When a profile's status was last written.
    pub(super) written: HashMap<ProfileKey, Instant>,
    /// What pods, as `namespace/name`, were told.
    pub(super) told: HashMap<String, Told>,
    /// Names of nodes, as all profiles were last told them.
    pub(super) nodes: BTreeSet<String>,
    /// How many daemons there should be, likewise.
    pub(super) desired: Option<i32>,
    /// Reports of nodes that left.
    pub(super) departed: Departed,
}

impl Stores {
    pub(super) fn indexes(&self) -> MutexGuard<'_, Indexes> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pods_of(&self, key: &ProfileKey) -> BTreeSet<String> {
        self.indexes().pods.of(key)
    }

    pub(super) fn reports_of(&self, key: &ProfileKey) -> Vec<Report> {
        {
            let indexes = self.indexes();
            indexes.reports.of(key, &indexes.nodes)
        }
    }

    pub(super) fn all(&self) -> Vec<ProfileKey> {
        fn keys<K: Profile>(store: &Store<Guarded<K>>) -> Vec<ProfileKey>
        where
            Guarded<K>: Resource<DynamicType = ()>,
        {
            store
                .state()
                .iter()
                .map(|profile| key_of(&**profile))
                .collect()
        }
        [
            keys(&self.seccomp),
            keys(&self.selinux),
            keys(&self.raw_selinux),
            keys(&self.apparmor),
        ]
        .concat()
    }
}

pub(super) fn key_of<K: Profile>(profile: &Guarded<K>) -> ProfileKey
where
    Guarded<K>: Resource<DynamicType = ()>,
{
    ProfileKey {
        kind: K::KIND,
        name: profile.name_any(),
    }
}
