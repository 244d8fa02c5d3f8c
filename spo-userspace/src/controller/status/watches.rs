//! The watches, and which profiles are looked at when an object changes.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Api;
use kube::core::ObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::observe::{self, Guarded};
use super::stores::{Stores, key_of};
use super::{Context, DAEMONS, Work};
use crate::api::names::profile_of_form;
use crate::api::{SeccompProfile, SecurityProfileNodeStatus};
use crate::cluster::queue::Queue;
use crate::cluster::watch::{Change, Wish, store, watch, watch_events};
use crate::controller::profile::{Kind, Profile, ProfileKey};
use crate::controller::usage;
use crate::telemetry::metrics::Metrics;

/// How long a profile may take to get to the node of a pod that names it, before the pod is told.
const GRACE: Duration = Duration::from_secs(5);

/// Watches that run.
pub(super) struct Watches {
    pub(super) stores: Arc<Stores>,
    pub(super) tasks: JoinSet<()>,
    /// Each is cancelled when a watch has told all that is there.
    pub(super) complete: Vec<CancellationToken>,
    client: Client,
    metrics: Arc<Metrics>,
    queue: Queue<Work>,
    stop: CancellationToken,
}

impl Watches {
    /// Starts them.
    pub(super) fn start(context: &Context, queue: Queue<Work>, stop: CancellationToken) -> Self {
        let (seccomp, seccomp_writer) = store();
        let (selinux, selinux_writer) = store();
        let (raw_selinux, raw_selinux_writer) = store();
        let (apparmor, apparmor_writer) = store();
        let (nodes, nodes_writer) = store();
        let (daemons, daemons_writer) = store();
        let (pods, pods_writer) = store();
        let stores = Stores {
            seccomp,
            selinux,
            raw_selinux,
            apparmor,
            pods,
            nodes,
            daemons,
            indexes: Mutex::default(),
        };
        let mut watches = Self {
            stores: Arc::new(stores),
            tasks: JoinSet::new(),
            complete: Vec::new(),
            client: context.client.clone(),
            metrics: context.metrics.clone(),
            queue,
            stop,
        };
        let all = Wish::default;
        watches.of(all(), seccomp_writer, observe::trim_seccomp, of_seccomp);
        watches.of(all(), selinux_writer, observe::trim_selinux, of_profile);
        watches.of(
            all(),
            raw_selinux_writer,
            observe::trim_raw_selinux,
            of_profile,
        );
        watches.of(all(), apparmor_writer, observe::trim_apparmor, of_profile);
        watches.of_reports();
        watches.of(all(), pods_writer, trim_pod, of_pod);
        watches.of(all(), nodes_writer, trim_node, of_nodes);
        let own = Api::namespaced(context.client.clone(), &context.namespace);
        let wish = Wish {
            fields: Some(format!("metadata.name={DAEMONS}")),
            ..Wish::default()
        };
        watches.of_some(own, wish, daemons_writer, |_| true, of_daemons);
        watches
    }

    /// Watches what nodes report.
    fn of_reports(&mut self) {
        let wish = Wish::default();
        self.complete.push(wish.complete.clone());
        let (stores, queue) = (self.stores.clone(), self.queue.clone());
        let take = move |event| of_report(&stores, &queue, event);
        let failed = self.failed();
        let api = Api::all(self.client.clone());
        let stop = self.stop.clone();
        self.tasks
            .spawn(watch_events(api, wish, stop, take, failed));
    }

    /// Watches the objects of all namespaces.
    fn of<K>(
        &mut self,
        wish: Wish,
        writer: Writer<K>,
        trim: fn(&mut K) -> bool,
        changed: fn(&Stores, &Queue<Work>, &Change<'_, K>),
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let api = Api::all(self.client.clone());
        self.of_some(api, wish, writer, trim, changed);
    }

    fn of_some<K>(
        &mut self,
        api: Api<K>,
        wish: Wish,
        writer: Writer<K>,
        trim: fn(&mut K) -> bool,
        changed: fn(&Stores, &Queue<Work>, &Change<'_, K>),
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.complete.push(wish.complete.clone());
        let (stores, queue) = (self.stores.clone(), self.queue.clone());
        let changed = move |change: Change<'_, K>| changed(&stores, &queue, &change);
        let failed = self.failed();
        let stop = self.stop.clone();
        self.tasks
            .spawn(watch(api, wish, writer, stop, trim, changed, failed));
    }

    /// Counts that a watch broke.
    fn failed(&self) -> impl FnMut(&str) + Send + use<> {
        let metrics = self.metrics.clone();
        move |resource| metrics.watch_failed(resource)
    }
}

/// A profile about which nothing else is to be known.
fn of_profile<K: Profile>(_: &Stores, queue: &Queue<Work>, change: &Change<'_, Guarded<K>>) {
    queue.add(Work::Profile(key_of(change.object())));
}

fn trim_pod(pod: &mut Pod) -> bool {
    usage::trim(pod);
    usage::is_active(pod) && !usage::profiles(pod).is_empty()
}

/// The profile, and all those that have it as a base, directly or not.
fn of_seccomp(stores: &Stores, queue: &Queue<Work>, change: &Change<'_, Guarded<SeccompProfile>>) {
    let profile = change.object();
    let name = profile.name_any();
    let mut indexes = stores.indexes();
    let above = match change {
        Change::Present(_) => {
            let spec = profile.0.as_ref().ok().map(|profile| &profile.spec);
            let base = spec.and_then(|spec| spec.base_profile_name.as_deref());
            let meta = profile.meta();
            indexes
                .bases
                .changed(&name, base, meta.uid.as_deref(), meta.generation)
        }
        Change::Gone(_) => indexes.bases.gone(&name),
    };
    for name in above.into_iter().chain([name]) {
        queue.add(Work::Profile(ProfileKey {
            kind: Kind::Seccomp,
            name,
        }));
    }
}

fn of_report(
    stores: &Stores,
    queue: &Queue<Work>,
    event: Event<Guarded<SecurityProfileNodeStatus>>,
) {
    let mut indexes = stores.indexes();
    let reports = &mut indexes.reports;
    let changed = match event {
        Event::Init => {
            reports.begin();
            BTreeSet::new()
        }
        Event::Apply(report) | Event::InitApply(report) => reports.put(&report),
        Event::Delete(report) => reports.remove(&report.name_any()).into_iter().collect(),
        Event::InitDone => reports.end(),
    };
    for key in changed {
        queue.add(Work::Profile(key));
    }
}

fn of_pod(stores: &Stores, queue: &Queue<Work>, change: &Change<'_, Pod>) {
    let pod = change.object();
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let keys = match change {
        Change::Present(_) => with_complaining(usage::profiles(pod)),
        Change::Gone(_) => BTreeSet::new(),
    };
    for key in stores.indexes().pods.set(&name, keys) {
        queue.add(Work::Profile(key));
    }
    queue.add_after(Work::Pod(name), GRACE);
}

/// Who runs under the complain form of a profile uses the profile, too: the form goes with it.
fn with_complaining(mut profiles: BTreeSet<ProfileKey>) -> BTreeSet<ProfileKey> {
    let seccomp = profiles
        .iter()
        .filter(|profile| profile.kind == Kind::Seccomp);
    let complaining = seccomp.filter_map(|profile| profile_of_form(&profile.name));
    let complaining = complaining.map(|name| ProfileKey {
        kind: Kind::Seccomp,
        name: name.to_owned(),
    });
    let complaining: Vec<_> = complaining.collect();
    profiles.extend(complaining);
    profiles
}

/// Nodes write their objects every few minutes, and nothing of that matters here.
fn of_nodes(stores: &Stores, queue: &Queue<Work>, change: &Change<'_, Node>) {
    let name = change.object().name_any();
    let is_there = matches!(change, Change::Present(_));
    {
        let mut indexes = stores.indexes();
        if indexes.nodes.contains(&name) == is_there {
            return;
        }
        // All at once: when a watch begins, all are there already.
        let nodes = stores.nodes.state();
        indexes.nodes = nodes.iter().map(|node| node.name_any()).collect();
    }
    for key in stores.all() {
        queue.add(Work::Profile(key));
    }
}

fn of_daemons(stores: &Stores, queue: &Queue<Work>, _: &Change<'_, DaemonSet>) {
    let daemons = stores.daemons.state();
    let status = daemons.first().and_then(|daemons| daemons.status.as_ref());
    let desired = status.map(|status| status.desired_number_scheduled);
    let before = std::mem::replace(&mut stores.indexes().desired, desired);
    if before != desired {
        for key in stores.all() {
            queue.add(Work::Profile(key));
        }
    }
}

/// Of nodes only the names are needed; those that run another system have no profiles.
fn trim_node(node: &mut Node) -> bool {
    let labels = node.metadata.labels.take().unwrap_or_default();
    *node = Node {
        metadata: ObjectMeta {
            name: node.metadata.name.take(),
            resource_version: node.metadata.resource_version.take(),
            ..ObjectMeta::default()
        },
        ..Node::default()
    };
    labels
        .get("kubernetes.io/os")
        .is_none_or(|system| system == "linux")
}
