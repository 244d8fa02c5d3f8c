//! The watches, and what is looked at when an object changes.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Context, Guarded, Key, Work, pods};
use crate::api::bindings::{BINDINGS, BOUND_POD};
use crate::api::common::ProfileKind;
use crate::api::names::{IN_USE, complain_form, profile_of_form};
use crate::api::profile_binding::BindingMode;
use crate::api::{ProfileBinding, SeccompProfile};
use crate::cluster::queue::Queue;
use crate::cluster::watch::{Change, Wish, store, watch};
use crate::controller::index::Index;

/// Watches that run.
pub(super) struct Watches {
    pub(super) stores: Arc<Stores>,
    pub(super) tasks: JoinSet<()>,
    /// Each is cancelled when a watch has told all that is there.
    pub(super) complete: Vec<CancellationToken>,
}

/// What is known.
pub(super) struct Stores {
    pub(super) bindings: Store<Guarded<ProfileBinding>>,
    /// Those that a binding counted for.
    pub(super) pods: Store<Pod>,
    indexes: Mutex<Indexes>,
}

#[derive(Default)]
pub(super) struct Indexes {
    /// Pods by their bindings.
    pub(super) pods: Index<Key>,
    /// Pods that are held back, by the seccomp profiles they wait for.
    waiting: Index<String>,
    /// The profile whose complain form a binding asked for when it was last seen.
    forms: Index<String>,
    /// Of profiles, what forms depend on, when it was last seen.
    profiles: HashMap<String, Version>,
    /// Why there is no form of a profile, as bindings were told, by their identity.
    pub(super) told: HashMap<String, HashMap<String, String>>,
}

/// What of a profile forms depend on: its rules, whether it is deleted, and whether pods use it.
type Version = (Option<String>, Option<i64>, bool, bool);

impl Stores {
    pub(super) fn indexes(&self) -> MutexGuard<'_, Indexes> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether pods wait for the complain form of a profile.
    pub(super) fn is_awaited(&self, profile: &str) -> bool {
        !self
            .indexes()
            .waiting
            .of(&complain_form(profile))
            .is_empty()
    }

    /// The bindings that ask for the complain form of a profile.
    pub(super) fn asking_for_form(&self, profile: &str) -> Vec<Arc<Guarded<ProfileBinding>>> {
        let mut bindings = self.bindings.state();
        bindings.retain(|binding| form_of(binding) == Some(profile));
        bindings
    }
}

impl Watches {
    /// Starts them.
    pub(super) fn start(context: &Context, queue: &Queue<Work>, stop: &CancellationToken) -> Self {
        let (bindings, bindings_writer) = store();
        let (pods, pods_writer) = store();
        let (_, profiles_writer) = store();
        let stores = Arc::new(Stores {
            bindings,
            pods,
            indexes: Mutex::default(),
        });
        let mut watches = Self {
            stores: stores.clone(),
            tasks: JoinSet::new(),
            complete: Vec::new(),
        };
        let all = Wish::default;
        let labelled = Wish {
            labels: Some(BOUND_POD.to_owned()),
            ..Wish::default()
        };
        let (known, out) = (stores.clone(), queue.clone());
        let of = move |change: Change<'_, _>| add(&out, of_binding(&known, &change));
        watches.follow(context, stop, all(), bindings_writer, |_| true, of);
        let (known, out) = (stores.clone(), queue.clone());
        let of = move |change: Change<'_, _>| add(&out, of_pod(&known, &change));
        watches.follow(context, stop, labelled, pods_writer, trim_pod, of);
        let out = queue.clone();
        let of = move |change: Change<'_, _>| add(&out, of_profile(&stores, &change));
        watches.follow(context, stop, all(), profiles_writer, trim_profile, of);
        watches
    }

    fn follow<K>(
        &mut self,
        context: &Context,
        stop: &CancellationToken,
        wish: Wish,
        writer: Writer<K>,
        trim: fn(&mut K) -> bool,
        changed: impl FnMut(Change<'_, K>) + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.complete.push(wish.complete.clone());
        let metrics = context.metrics.clone();
        let failed = move |resource: &str| metrics.watch_failed(resource);
        let api = Api::all(context.client.clone());
        let stop = stop.clone();
        self.tasks
            .spawn(watch(api, wish, writer, stop, trim, changed, failed));
    }
}

fn add(queue: &Queue<Work>, work: Vec<Work>) {
    for one in work {
        queue.add(one);
    }
}

/// The profile whose complain form a binding asks for.
fn form_of(binding: &Guarded<ProfileBinding>) -> Option<&str> {
    let spec = &binding.0.as_ref().ok()?.spec;
    let asks = spec.mode == Some(BindingMode::Complain)
        && spec.profile_ref.kind == ProfileKind::SeccompProfile
        && binding.meta().deletion_timestamp.is_none();
    asks.then_some(&spec.profile_ref.name)
}

fn of_binding(stores: &Stores, change: &Change<'_, Guarded<ProfileBinding>>) -> Vec<Work> {
    let binding = change.object();
    let key = Key::of(binding);
    let form = match change {
        Change::Present(binding) => form_of(binding).map(str::to_owned),
        Change::Gone(_) => None,
    };
    let asked: BTreeSet<_> = form.clone().into_iter().collect();
    let changed = stores.indexes().forms.set(&key.to_string(), asked);
    // The one that it asked for before may have to go.
    let forms: BTreeSet<_> = changed.into_iter().chain(form).collect();
    let forms = forms.into_iter().map(Work::Form);
    forms.chain([Work::Binding(key)]).collect()
}

fn of_pod(stores: &Stores, change: &Change<'_, Pod>) -> Vec<Work> {
    let pod = change.object();
    let key = Key::of(pod);
    let (bindings, waits) = match change {
        Change::Present(pod) => (pods::bindings(pod), pods::awaited(pod)),
        Change::Gone(_) => (BTreeSet::new(), BTreeSet::new()),
    };
    let object = key.to_string();
    let (changed, awaited) = {
        let mut indexes = stores.indexes();
        let awaited = indexes.waiting.set(&object, waits);
        (indexes.pods.set(&object, bindings), awaited)
    };
    // A form for which a pod waits is made also when no binding asks for it any more.
    let forms = awaited.iter().filter_map(|name| profile_of_form(name));
    let forms = forms.map(|profile| Work::Form(profile.to_owned()));
    let changed = changed.into_iter().map(Work::Binding);
    changed.chain(forms).chain([Work::Pod(key)]).collect()
}

/// A profile has a form, is one, or is waited for.
fn of_profile(
    stores: &Stores,
    change: &Change<'_, PartialObjectMeta<SeccompProfile>>,
) -> Vec<Work> {
    let name = change.object().name_any();
    let (waiting, forms) = {
        let mut indexes = stores.indexes();
        let is_news = match change {
            Change::Present(profile) => {
                let now = version(profile);
                indexes.profiles.insert(name.clone(), now.clone()) != Some(now)
            }
            Change::Gone(_) => {
                indexes.profiles.remove(&name);
                true
            }
        };
        // Any profile may be the base of one that has a form.
        let forms = is_news.then(|| indexes.forms.keys());
        (indexes.waiting.of(&name), forms.unwrap_or_default())
    };
    let pods = waiting.iter().filter_map(|pod| Key::read(pod));
    let own = profile_of_form(&name).map(str::to_owned);
    let forms: BTreeSet<_> = forms.into_iter().chain(own).collect();
    let forms = forms.into_iter().map(Work::Form);
    pods.map(Work::Pod).chain(forms).collect()
}

fn version(profile: &PartialObjectMeta<SeccompProfile>) -> Version {
    let meta = profile.meta();
    let mut finalizers = meta.finalizers.iter().flatten();
    (
        meta.uid.clone(),
        meta.generation,
        meta.deletion_timestamp.is_some(),
        finalizers.any(|name| name == IN_USE),
    )
}

/// Removes what nobody here reads.
fn trim_pod(pod: &mut Pod) -> bool {
    let meta = &mut pod.metadata;
    meta.labels = None;
    meta.owner_references = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| key == BINDINGS);
    }
    let spec = pod.spec.take().unwrap_or_default();
    pod.spec = Some(PodSpec {
        scheduling_gates: spec.scheduling_gates,
        ..PodSpec::default()
    });
    let status = pod.status.take().unwrap_or_default();
    pod.status = Some(PodStatus {
        phase: status.phase,
        ..PodStatus::default()
    });
    true
}

/// That it changed is all that matters.
fn trim_profile(profile: &mut PartialObjectMeta<SeccompProfile>) -> bool {
    let meta = &mut profile.metadata;
    meta.annotations = None;
    meta.labels = None;
    meta.owner_references = None;
    true
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn binding(mode: &Value, kind: &str) -> Guarded<ProfileBinding> {
        let spec = json!({
            "profileRef": { "kind": kind, "name": "web" }, "image": "*", "mode": mode,
        });
        let object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1", "kind": "ProfileBinding",
            "metadata": { "name": "a", "namespace": "shop" }, "spec": spec,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn only_what_complains_asks_for_a_form() {
        let complaining = binding(&json!("Complain"), "SeccompProfile");
        assert_eq!(form_of(&complaining), Some("web"));
        assert_eq!(form_of(&binding(&json!("Enforce"), "SeccompProfile")), None);
        assert_eq!(form_of(&binding(&Value::Null, "SeccompProfile")), None);
        assert_eq!(
            form_of(&binding(&json!("Complain"), "SelinuxProfile")),
            None
        );
        let mut deleted = complaining;
        deleted.0.as_mut().unwrap().metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-31T12:00:00Z")).unwrap();
        assert_eq!(form_of(&deleted), None);
    }

    #[test]
    fn a_form_is_looked_at_when_its_profile_changes_and_when_nobody_asks_any_more() {
        let (bindings, _) = store();
        let (pods, _) = store();
        let stores = Stores {
            bindings,
            pods,
            indexes: Mutex::default(),
        };
        let profile = |name: &str| -> PartialObjectMeta<SeccompProfile> {
            serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
        };
        let complaining = binding(&json!("Complain"), "SeccompProfile");
        let web = || vec![Work::Form("web".to_owned())];
        let generation = std::cell::Cell::new(0_i64);
        let change = |name: &str| {
            let mut profile = profile(name);
            profile.metadata.generation = Some(generation.get());
            generation.set(generation.get() + 1);
            of_profile(&stores, &Change::Present(&profile))
        };
        let with_binding = || {
            let key = Key::of(&binding(&json!("Complain"), "SeccompProfile"));
            [web(), vec![Work::Binding(key)]].concat()
        };
        assert!(change("base").is_empty(), "nobody asks for a form");
        let seen = of_binding(&stores, &Change::Present(&complaining));
        assert_eq!(seen, with_binding());
        assert_eq!(change("base"), web(), "it may be a base");
        generation.set(generation.get() - 1);
        assert!(change("base").is_empty(), "its rules are the same");
        assert_eq!(change(&complain_form("web")), web());
        let gone = of_binding(&stores, &Change::Gone(&complaining));
        assert_eq!(gone, with_binding());
        assert!(change("base").is_empty());
        assert_eq!(change(&complain_form("web")), web(), "it may have to go");
    }
}
