//! What bindings need to be known as it is at this moment. Watches may lag behind somebody who makes
//! profile, binding and pod at once, so the API server is asked, for as little as will do.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::ListParams;
use kube::core::{DeserializeGuard, ObjectList};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Error, Resource};

use super::binding::{Key, Profiles};
use super::standing::Standing;
use super::state::{Found, Guarded, State, found};
use crate::api::common::ProfileKind;
use crate::api::{AppArmorProfile, ProfileBinding, SeccompProfile, SelinuxProfile};
use crate::profile::named::Named as _;

/// A binding, of which nothing may be known but that it is there.
pub(super) type GuardedBinding = DeserializeGuard<ProfileBinding>;

/// What the API server is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// The second number of its version, as in 1.33.
    pub(super) minor: u32,
}

impl Server {
    /// Whether pods name seccomp profiles by annotations as well.
    pub(super) fn reads_seccomp_annotations(self) -> bool {
        self.minor < 27
    }

    /// Whether pods may wait for being scheduled.
    pub(super) fn has_gates(self) -> bool {
        self.minor >= 27
    }

    /// Whether kubelets refuse pods that say they are for another system. Whoever says so elsewhere would
    /// have his pod run all the same.
    pub(super) fn has_systems(self) -> bool {
        self.minor >= 25
    }

    /// Whether pods name profiles for `AppArmor` by fields.
    pub(super) fn has_apparmor_fields(self) -> bool {
        self.minor >= 30
    }
}

impl State {
    /// What the API server is like; it is asked once.
    pub(super) async fn server(&self) -> Result<Server, Error> {
        let ask = async || {
            let Info { minor, .. } = self.client.apiserver_version().await?;
            // Some say `29+`.
            let digits = minor.trim_end_matches(|character: char| !character.is_ascii_digit());
            let minor = digits.parse().unwrap_or(u32::MAX);
            Ok(Server { minor })
        };
        self.server.get_or_try_init(ask).await.copied()
    }

    /// The bindings that may be for pods of a namespace: its own and the operator's.
    pub(super) async fn bindings_of(
        &self,
        namespace: &str,
    ) -> Result<Vec<Arc<GuardedBinding>>, Error> {
        let both = [namespace, &self.namespace];
        let known = self.stores.bindings.state_filter(|binding| {
            let namespace = binding.meta().namespace.as_deref();
            namespace.is_some_and(|namespace| both.contains(&namespace))
        });
        let both = both.map(|namespace| self.bindings_in(namespace, &known));
        let both = try_join_all(both).await?;
        Ok(both.into_iter().flatten().collect())
    }

    /// What the watch knows, if it is as many as there are; else all are asked for.
    async fn bindings_in(
        &self,
        namespace: &str,
        known: &[Arc<GuardedBinding>],
    ) -> Result<Vec<Arc<GuardedBinding>>, Error> {
        let known = known.iter().filter(|binding| {
            let metadata = binding.meta();
            metadata.namespace.as_deref() == Some(namespace)
        });
        let known: Vec<_> = known.cloned().collect();
        let api = Api::<GuardedBinding>::namespaced(self.client.clone(), namespace);
        // Whole objects: of metadata alone, servers before 1.24 do not say how many there are.
        let first = api.list(&ListParams::default().limit(1)).await?;
        if how_many(&first) == Some(known.len()) {
            return Ok(known);
        }
        let all = api.list(&ListParams::default()).await?;
        Ok(all.items.into_iter().map(Arc::new).collect())
    }

    /// The profiles of these names. One that no node seems to have is asked for.
    pub(super) async fn profiles(
        &self,
        wanted: impl Iterator<Item = Key>,
    ) -> Result<Profiles, Error> {
        let ask = async |key: Key| {
            let (kind, name) = (key.0, key.1.clone());
            let found = match self.known(kind, &name) {
                Some(known) if matches!(known.standing, Standing::OnNodes(_)) => Some(known),
                _ => match kind {
                    ProfileKind::SeccompProfile => self.ask::<SeccompProfile>(&key).await?,
                    ProfileKind::SelinuxProfile => self.ask::<SelinuxProfile>(&key).await?,
                    ProfileKind::AppArmorProfile => self.ask::<AppArmorProfile>(&key).await?,
                },
            };
            Ok::<_, Error>(found.map(|found| (key, found)))
        };
        let found = try_join_all(wanted.map(ask)).await?;
        Ok(found.into_iter().flatten().collect::<BTreeMap<_, _>>())
    }

    /// What the watches know of a profile.
    pub(super) fn known(&self, kind: ProfileKind, name: &str) -> Option<Found> {
        let profiles = &self.stores.profiles;
        let of = kind.name();
        match kind {
            ProfileKind::SeccompProfile => {
                let profile = profiles.seccomp.get(&ObjectRef::new(name))?;
                Some(found(&profile, of))
            }
            ProfileKind::SelinuxProfile => {
                let profile = profiles.selinux.get(&ObjectRef::new(name))?;
                Some(found(&profile, of))
            }
            ProfileKind::AppArmorProfile => {
                let profile = profiles.apparmor.get(&ObjectRef::new(name))?;
                Some(found(&profile, of))
            }
        }
    }

    /// What the API server knows of a profile. As a list, for which the right is there already.
    async fn ask<K>(&self, key: &Key) -> Result<Option<Found>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
        Guarded<K>: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>,
        K: std::fmt::Debug,
    {
        let (kind, name) = key;
        let one = ListParams::default().fields(&format!("metadata.name={name}"));
        let found_all = Api::<Guarded<K>>::all(self.client.clone())
            .list(&one)
            .await?;
        let first = found_all.items.first();
        Ok(first.map(|profile| found(profile, kind.name())))
    }
}

/// How many objects there are, as the beginning of a list says it. Nothing if it does not.
fn how_many<K: Clone>(first: &ObjectList<K>) -> Option<usize> {
    let here = first.items.len();
    let goes_on = first.metadata.continue_.as_ref();
    if goes_on.is_none_or(String::is_empty) {
        return Some(here);
    }
    let rest = usize::try_from(first.metadata.remaining_item_count?).ok()?;
    Some(here + rest)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_list_that_goes_on_and_does_not_say_how_far_is_of_no_known_length() {
        let told = |metadata: Value| {
            let list = json!({
                "apiVersion": "v1", "kind": "List", "metadata": metadata,
                "items": [{ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } }],
            });
            let list: ObjectList<k8s_openapi::api::core::v1::ConfigMap> =
                serde_json::from_value(list).unwrap();
            how_many(&list)
        };
        assert_eq!(told(json!({})), Some(1));
        assert_eq!(told(json!({ "continue": "" })), Some(1));
        let goes_on = json!({ "continue": "x", "remainingItemCount": 999 });
        assert_eq!(told(goes_on), Some(1000));
        assert_eq!(told(json!({ "continue": "x" })), None);
    }
}
