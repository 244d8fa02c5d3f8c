//! Seccomp profiles on a node: each is a file, and a `SecurityProfileNodeStatus` says how far it
//! got. Runs in the daemon of each node, and writes nothing but those statuses, events, and files.
//!
//! The key of the work is the file, because two profiles can have the same one (`a` and `a.json`).

mod apply;
mod content;
mod entrance;
mod evidence;
mod first;
mod observe;
mod plan;
mod seen;
mod status;
mod written;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::Api;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::{Client, Resource as _, ResourceExt as _};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::content::file_content;
pub use self::evidence::Machine;
use self::first::First;
use self::observe::{Configuration, Guarded, GuardedStatus};
use self::status::KIND;
use self::written::Written;
use super::bases::Bases;
use crate::api;
use crate::api::names::{NODE_NAME, PROFILE_KIND, node_label, seccomp_file};
use crate::cluster::events::Events;
use crate::cluster::queue::{Keys, Queue, queue};
use crate::cluster::watch::{Change, Wish, store, watch};
use crate::node::entrance::{Entrance, Trouble};
use crate::node::profiles::{self, Noticed, Profiles, ProfilesError};
use crate::telemetry::metrics::Metrics;

/// How many files are worked on at a time.
const MOST: usize = 8;
/// Changes that come together cost one turn.
const SETTLE: Duration = Duration::from_millis(5);

/// What the controller works with.
pub struct Settings {
    /// The API server.
    pub client: Client,
    /// The node's name.
    pub node: String,
    /// The operator's own namespace, where its configuration is.
    pub namespace: String,
    /// The name of the `SecurityProfilesOperatorDaemon`.
    pub configuration: String,
    /// The folder of profiles.
    pub folder: Arc<Profiles>,
    /// How the kubelet gets to it, where that can be seen.
    pub entrance: Option<Entrance>,
    /// What the kernel's filters can do, in its own words.
    pub actions: BTreeSet<String>,
    /// What the node is, for profiles that were recorded on others.
    pub machine: Machine,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Is cancelled when each profile that there was in the beginning was looked at.
    pub begun: CancellationToken,
}

struct Context {
    client: Client,
    node: String,
    namespace: String,
    configuration: String,
    folder: Arc<Profiles>,
    entrance: Option<Arc<Entrance>>,
    /// What was wrong with the entrance when it was looked at.
    trouble: Mutex<Option<Trouble>>,
    actions: BTreeSet<String>,
    machine: Machine,
    metrics: Arc<Metrics>,
    events: Events,
    profiles: Store<Guarded>,
    statuses: Store<GuardedStatus>,
    /// What the configuration says of profiles, or why that cannot be read; nothing until there was
    /// one. It holds until another comes: whoever removes the configuration lifts no restriction.
    security: Mutex<Option<Security>>,
    written: Written,
    queue: Queue<String>,
}

type Security = Result<Option<api::daemon::Security>, String>;

struct Writers {
    profiles: Writer<Guarded>,
    statuses: Writer<GuardedStatus>,
    daemons: Writer<Configuration>,
}

/// Runs until `stop`, and ends when what was begun is done.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), JoinError> {
    let begun = settings.begun.clone();
    let (context, writers, keys) = Context::new(settings);
    let mut tasks = JoinSet::new();
    let configured = CancellationToken::new();
    context.watch(writers, &mut tasks, &stop, configured.clone());
    // Without knowing all profiles, all restrictions and what was said, anything would be wrong.
    let ready = async {
        configured.cancelled().await;
        context.profiles.wait_until_ready().await.is_ok()
            && context.statuses.wait_until_ready().await.is_ok()
    };
    let is_ready = tokio::select! {
        () = stop.cancelled() => false,
        is_ready = ready => is_ready,
    };
    if is_ready {
        let profiles = context.profiles.len();
        tracing::info!(profiles, "all objects are known; the work begins");
        context.look().await;
        context.clean().await;
        let first = Arc::new(First::of(context.all().await, begun));
        tasks.spawn(context.clone().notice_entrance(stop.clone()));
        tasks.spawn(context.clone().notice(stop.clone()));
        tasks.spawn(context.clone().find_runtime(stop.clone()));
        let handle = |file: String| {
            let (context, first) = (context.clone(), first.clone());
            async move {
                let outcome = context.reconcile(file.clone()).await;
                first.looked_at(&file);
                outcome
            }
        };
        keys.work(MOST, SETTLE, stop.clone(), handle).await;
    }
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

impl Context {
    fn new(settings: Settings) -> (Arc<Self>, Writers, Keys<String>) {
        let Settings {
            client,
            node,
            namespace,
            configuration,
            folder,
            entrance,
            actions,
            machine,
            metrics,
            begun: _,
        } = settings;
        let (profiles, profiles_writer) = store();
        let (statuses, statuses_writer) = store();
        let (_, daemons_writer) = store();
        let (queue, keys) = queue();
        metrics.queue("seccomp", &queue);
        let context = Self {
            events: Events::new(client.clone(), &node, metrics.events_over_budget()),
            client,
            node,
            namespace,
            configuration,
            folder,
            entrance: entrance.map(Arc::new),
            trouble: Mutex::default(),
            actions,
            machine,
            metrics,
            profiles,
            statuses,
            security: Mutex::default(),
            written: Written::default(),
            queue,
        };
        let writers = Writers {
            profiles: profiles_writer,
            statuses: statuses_writer,
            daemons: daemons_writer,
        };
        (Arc::new(context), writers, keys)
    }

    fn watch(
        self: &Arc<Self>,
        writers: Writers,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
        configured: CancellationToken,
    ) {
        let Writers {
            profiles,
            statuses,
            daemons,
        } = writers;
        let bases = Mutex::new(Bases::default());
        let context = self.clone();
        tasks.spawn(watch(
            Api::all(self.client.clone()),
            Wish::default(),
            profiles,
            stop.clone(),
            trim,
            move |change| context.profile_changed(&bases, &change),
            self.failed(),
        ));
        let context = self.clone();
        let labels = format!(
            "{NODE_NAME}={},{PROFILE_KIND}={KIND}",
            node_label(&self.node)
        );
        tasks.spawn(watch(
            Api::all(self.client.clone()),
            Wish {
                labels: Some(labels),
                ..Wish::default()
            },
            statuses,
            stop.clone(),
            |_| true,
            move |change| context.status_changed(&change),
            self.failed(),
        ));
        let context = self.clone();
        tasks.spawn(watch(
            Api::namespaced(self.client.clone(), &self.namespace),
            Wish {
                fields: Some(format!("metadata.name={}", self.configuration)),
                complete: configured,
                ..Wish::default()
            },
            daemons,
            stop.clone(),
            |_| true,
            move |change| context.configuration_changed(&change),
            self.failed(),
        ));
    }

    fn failed(&self) -> impl FnMut(&str) + Send + use<> {
        let metrics = self.metrics.clone();
        move |resource| metrics.watch_failed(resource)
    }

    fn profile_changed(&self, bases: &Mutex<Bases>, change: &Change<'_, Guarded>) {
        let mut bases = match bases.lock() {
            Ok(bases) => bases,
            Err(poisoned) => poisoned.into_inner(),
        };
        let object = change.object();
        let name = object.name_any();
        let others = match change {
            Change::Present(_) => {
                let spec = object.0.as_ref().ok().map(|profile| &profile.spec);
                let base = spec.and_then(|spec| spec.base_profile_name.as_deref());
                let generation = object.meta().generation;
                bases.changed(&name, base, object.meta().uid.as_deref(), generation)
            }
            Change::Gone(_) => {
                self.metrics.state(KIND, &name, None);
                self.metrics.recorded_elsewhere(&name, Vec::new());
                bases.gone(&name)
            }
        };
        for name in others.iter().chain([&name]) {
            self.queue.add(seccomp_file(name));
        }
    }

    fn configuration_changed(&self, change: &Change<'_, Configuration>) {
        let Change::Present(configuration) = change else {
            let name = &self.configuration;
            tracing::warn!(
                name,
                "the configuration is gone; what it allowed is allowed still"
            );
            return;
        };
        let now = Some(observe::security(configuration));
        let mut security = self.security();
        if *security != now {
            *security = now;
            self.every_profile();
        }
    }

    fn security(&self) -> MutexGuard<'_, Option<Security>> {
        self.security.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status_changed(&self, change: &Change<'_, GuardedStatus>) {
        // What cannot be read is nothing that we wrote.
        let Ok(object) = &change.object().0 else {
            return;
        };
        let change = match change {
            Change::Present(_) => Change::Present(object),
            Change::Gone(_) => Change::Gone(object),
        };
        if !self.written.shown(&change) {
            return;
        }
        let owners = object.owner_references();
        for owner in owners.iter().filter(|owner| owner.kind == KIND) {
            self.queue.add(seccomp_file(&owner.name));
        }
    }

    fn every_profile(&self) -> Vec<String> {
        let profiles = self.profiles.state();
        let files = profiles
            .iter()
            .map(|profile| seccomp_file(&profile.name_any()));
        let files: Vec<_> = files.collect();
        self.look_at(&files);
        files
    }

    fn look_at(&self, files: &[String]) {
        for file in files {
            self.queue.add(file.clone());
        }
    }

    /// Has all profiles looked at, and all files that are ours; which they are.
    async fn all(self: &Arc<Self>) -> Vec<String> {
        let mut all = self.every_profile();
        match self.in_folder("", |folder, _| folder.ours()).await {
            Ok(files) => {
                self.look_at(&files);
                all.extend(files);
            }
            Err(error) => {
                let error = observe::chain(&error);
                tracing::warn!(error, "cannot tell which files are ours");
            }
        }
        all
    }

    /// Removes what an earlier process left half done.
    async fn clean(self: &Arc<Self>) {
        match self
            .in_folder("", |folder, _| folder.remove_unfinished())
            .await
        {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed unfinished files"),
            Err(error) => {
                let error = observe::chain(&error);
                tracing::warn!(error, "cannot remove unfinished files");
            }
        }
    }

    /// Watches the folder.
    async fn notice(self: Arc<Self>, stop: CancellationToken) {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let metrics = self.metrics.clone();
        let watching = profiles::watch(
            self.folder.path().to_owned(),
            stop.clone(),
            // When nobody listens any more, the process ends.
            move |noticed| drop(sender.send(noticed)),
            move |error| {
                tracing::warn!(%error, "cannot watch the folder of profiles; trying again");
                metrics.watch_failed("folder");
            },
        );
        let taking = async {
            while let Some(noticed) = receiver.recv().await {
                match noticed {
                    Noticed::File(name) => self.queue.add(name),
                    Noticed::Everything => drop(self.all().await),
                    Noticed::Gone => {
                        tracing::warn!("the folder of profiles is gone");
                        self.every_profile();
                    }
                }
            }
        };
        tokio::join!(watching, taking);
    }

    /// Works in the folder, where disks may be slow, beside everything else.
    async fn in_folder<T: Send + 'static>(
        &self,
        file: &str,
        work: impl FnOnce(&Profiles, &str) -> Result<T, ProfilesError> + Send + 'static,
    ) -> Result<T, ProfilesError> {
        let (folder, file) = (self.folder.clone(), file.to_owned());
        let work = tokio::task::spawn_blocking(move || work(&folder, &file));
        match work.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Leaves out what nobody here reads, and what can be large.
fn trim(profile: &mut Guarded) -> bool {
    evidence::trim(profile.annotations_mut());
    if let Ok(profile) = &mut profile.0
        && let Some(status) = &mut profile.status
    {
        for condition in &mut status.conditions {
            condition.message = String::new();
        }
    }
    true
}
