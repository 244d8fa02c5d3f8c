//! What the webhooks know: which namespaces every profile is for, and whether nodes have it, the labels
//! of namespaces, what is to be recorded and bound, and whether recording is on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::lookup::Server;
use super::recording::{Recorders, Recording};
use super::standing::{self, Progress, Standing, if_known};
use crate::api::bindings::complains_for;
use crate::api::names::LOG_PROFILE;
use crate::api::pods::raw_selinux_profiles;
use crate::api::{
    AppArmorProfile, ProfileBinding, ProfileRecording, RawSelinuxProfile, SeccompProfile,
    SecurityProfilesOperatorDaemon, SelinuxProfile,
};
use crate::cluster::error::told;
use crate::cluster::events::Notes;
use crate::profile;

/// A profile, of which nothing is kept but for whom it is, and how far it got. Its rules need not even be
/// valid.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "")]
pub struct Scoped<K> {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Scope,
    #[serde(default, deserialize_with = "if_known")]
    status: Progress,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scope {
    #[serde(default, deserialize_with = "whole")]
    namespace_selector: Option<LabelSelector>,
    #[serde(default, deserialize_with = "if_known")]
    state: Option<profile::state::State>,
}

impl<K> Scoped<K> {
    /// Leaves out what no webhook reads.
    pub fn trim(&mut self) {
        standing::trim(&mut self.metadata, &mut self.status);
    }
}

/// A selector that has nothing in it which this version does not know, and would pass over.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<LabelSelector>, D::Error> {
    let Some(value) = Option::<Value>::deserialize(from)? else {
        return Ok(None);
    };
    let selector: LabelSelector = serde_json::from_value(value.clone()).map_err(Error::custom)?;
    if serde_json::to_value(&selector).map_err(Error::custom)? != value {
        return Err(Error::custom("the selector has unknown fields"));
    }
    Ok(Some(selector))
}

impl<K: Resource<DynamicType = ()>> Resource for Scoped<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The same, of which nothing may be known but that it is there.
pub type Guarded<K> = DeserializeGuard<Scoped<K>>;

/// For whom every profile is.
#[derive(Clone)]
pub struct Profiles {
    /// Seccomp profiles.
    pub seccomp: Store<Guarded<SeccompProfile>>,
    /// Profiles for `AppArmor`.
    pub apparmor: Store<Guarded<AppArmorProfile>>,
    /// Profiles for `SELinux`.
    pub selinux: Store<Guarded<SelinuxProfile>>,
    /// Raw profiles for `SELinux`.
    pub raw_selinux: Store<Guarded<RawSelinuxProfile>>,
}

/// A profile that a pod names, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) namespaces: Namespaces,
    pub(super) standing: Standing,
    /// The profile whose complain form it is.
    pub(super) complains_for: Option<String>,
}

/// For which namespaces a profile is.
#[derive(Clone, Debug)]
pub(super) enum Namespaces {
    All,
    Selected(LabelSelector),
    /// This version cannot read it.
    Unreadable,
}

impl Profiles {
    /// The profiles of a file: `a` and `a.json` would both be it.
    pub(super) fn seccomp(&self, name: &str) -> Vec<Found> {
        let names = [name.to_owned(), format!("{name}.json")];
        let find = |name: &String| find(&self.seccomp, "SeccompProfile", name);
        names.iter().filter_map(find).collect()
    }

    pub(super) fn apparmor(&self, name: &str) -> Vec<Found> {
        find(&self.apparmor, "AppArmorProfile", name)
            .into_iter()
            .collect()
    }

    /// The profiles of a type.
    pub(super) fn selinux(&self, name: &str) -> Vec<Found> {
        let raw = |name| find(&self.raw_selinux, "RawSelinuxProfile", name);
        let selinux = find(&self.selinux, "SelinuxProfile", name);
        let raw = raw_selinux_profiles(name).filter_map(raw);
        selinux.into_iter().chain(raw).collect()
    }
}

fn find<K>(store: &Store<Guarded<K>>, kind: &'static str, name: &str) -> Option<Found>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let object = store.get(&ObjectRef::new(name))?;
    Some(found(&object, kind))
}

/// What a profile says.
pub(super) fn found<K>(object: &Guarded<K>, kind: &'static str) -> Found
where
    K: Resource<DynamicType = ()>,
{
    let name = object.name_any();
    let (namespaces, standing) = match &object.0 {
        Ok(Scoped {
            metadata,
            spec: Scope {
                namespace_selector,
                state,
            },
            status,
            kind: _,
        }) => {
            let namespaces = match namespace_selector {
                Some(selector) => Namespaces::Selected(selector.clone()),
                None => Namespaces::All,
            };
            (namespaces, Standing::of(metadata, *state, status))
        }
        Err(_) => (
            Namespaces::Unreadable,
            Standing::on_none("this version cannot read", "mend it"),
        ),
    };
    Found {
        kind,
        name,
        namespaces,
        standing,
        complains_for: complains_for(object.meta()).map(str::to_owned),
    }
}

/// What all webhooks share.
pub struct State {
    pub(super) client: Client,
    /// The operator's own namespace.
    pub(super) namespace: String,
    pub(super) stores: Stores,
    /// Where notes go that are written when the answer is given.
    pub(super) notes: Notes,
    /// What the API server is like, once somebody wanted to know.
    pub(super) server: OnceCell<Server>,
}

/// What is known, filled by somebody else.
pub struct Stores {
    /// Namespaces, of which only labels matter.
    pub namespaces: Store<Namespace>,
    /// Profiles.
    pub profiles: Profiles,
    /// The recordings of all namespaces.
    pub recordings: Store<DeserializeGuard<ProfileRecording>>,
    /// The bindings of all namespaces.
    pub bindings: Store<DeserializeGuard<ProfileBinding>>,
    /// The configuration, of which there is one at most.
    pub configurations: Store<DeserializeGuard<SecurityProfilesOperatorDaemon>>,
}

impl State {
    /// The state. `namespace` is the operator's own.
    pub fn new(client: Client, namespace: String, stores: Stores, notes: Notes) -> Self {
        Self {
            client,
            namespace,
            stores,
            notes,
            server: OnceCell::new(),
        }
    }

    /// Waits until everything is known. That a store has nobody left who fills it happens when the
    /// process ends.
    pub async fn synced(&self) {
        let Stores {
            namespaces,
            profiles:
                Profiles {
                    seccomp,
                    apparmor,
                    selinux,
                    raw_selinux,
                },
            recordings,
            bindings,
            configurations,
        } = &self.stores;
        namespaces.wait_until_ready().await.ok();
        bindings.wait_until_ready().await.ok();
        recordings.wait_until_ready().await.ok();
        configurations.wait_until_ready().await.ok();
        seccomp.wait_until_ready().await.ok();
        apparmor.wait_until_ready().await.ok();
        selinux.wait_until_ready().await.ok();
        raw_selinux.wait_until_ready().await.ok();
    }

    /// The labels of a namespace. One that is so new that no watch has told of it is asked for.
    pub(super) async fn labels_of(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let labels = |namespace: &Namespace| namespace.metadata.labels.clone().unwrap_or_default();
        if let Some(namespace) = self.stores.namespaces.get(&ObjectRef::new(name)) {
            return Some(labels(&namespace));
        }
        // As a list, for which the right is there already.
        let one = ListParams::default().fields(&format!("metadata.name={name}"));
        match Api::<Namespace>::all(self.client.clone()).list(&one).await {
            Ok(found) => found.items.first().map(labels),
            Err(error) => {
                tracing::warn!(
                    error = told(&error),
                    namespace = name,
                    "cannot ask for a namespace"
                );
                None
            }
        }
    }

    /// The recordings of a namespace that have not ended. They are asked for, since no watch
    /// may have told of one that was made just before its pods.
    pub(super) async fn recordings_of(&self, namespace: &str) -> Vec<Recording> {
        let api =
            Api::<DeserializeGuard<ProfileRecording>>::namespaced(self.client.clone(), namespace);
        match api.list(&ListParams::default()).await {
            Ok(found) => found.items.iter().filter_map(recording).collect(),
            Err(error) => {
                tracing::warn!(error = told(&error), namespace, "cannot ask for recordings");
                let known = self.stores.recordings.state();
                let known = known.iter().map(|known| &**known);
                known
                    .filter(|known| known.namespace().as_deref() == Some(namespace))
                    .filter_map(recording)
                    .collect()
            }
        }
    }

    /// What the configuration switches on; nothing, if there is none that this version can read.
    pub(super) fn recorders(&self) -> Recorders {
        let configurations = self.stores.configurations.state();
        let specs = configurations.iter();
        let mut specs = specs.filter_map(|found| found.0.as_ref().ok());
        let spec = specs.next().map(|found| found.spec.clone());
        let spec = spec.unwrap_or_default();
        let enricher = spec.enricher.unwrap_or_default();
        Recorders {
            bpf: enricher.enable_bpf_recorder,
            logs: enricher.enable_log_enricher,
            labelled: spec.enable_memory_optimization,
            log_profile: !self.stores.profiles.seccomp(LOG_PROFILE).is_empty(),
        }
    }
}

fn recording(object: &DeserializeGuard<ProfileRecording>) -> Option<Recording> {
    let deleting = object.meta().deletion_timestamp.is_some();
    let finished = object
        .0
        .as_ref()
        .is_ok_and(|found| found.finished().is_some());
    (!deleting && !finished).then(|| Recording {
        name: object.name_any(),
        spec: object.0.as_ref().ok().map(|found| found.spec.clone()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn pods_are_of_recordings_that_have_not_ended() {
        let is_open = |change: fn(&mut Value)| {
            let mut object = json!({
                "apiVersion": "security-profiles-operator.x-k8s.io/v1",
                "kind": "ProfileRecording",
                "metadata": { "name": "web", "namespace": "shop" },
                "spec": { "kind": "SeccompProfile", "podSelector": {} },
            });
            change(&mut object);
            recording(&serde_json::from_value(object).unwrap()).is_some()
        };
        assert!(is_open(|_| {}));
        assert!(!is_open(|object| {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-31T12:00:00Z");
        }));
        assert!(!is_open(|object| {
            object["status"] = json!({ "conditions": [{
                "type": "Finished", "status": "False", "reason": "Quiet", "message": "",
                "lastTransitionTime": "2026-01-31T12:00:00Z",
            }] });
        }));
    }
}
