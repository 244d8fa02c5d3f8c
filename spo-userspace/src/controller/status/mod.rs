//! What a profile says of itself: its status, its finalizers, and all of its rules. By what its
//! nodes report, and which pods use it. The operator alone writes these.

mod apply;
mod counts;
mod departed;
mod missing;
mod observe;
mod plan;
mod reports;
mod stores;
mod watches;
mod wording;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Error};
use tokio_util::sync::CancellationToken;

use self::stores::Stores;
use self::watches::Watches;
use super::profile::ProfileKey;
use crate::cluster::error::told;
use crate::cluster::events::{Events, pod_reference};
use crate::cluster::queue::{Keys, Outcome, queue};
use crate::telemetry::metrics::Metrics;

/// Profiles that are worked on at a time.
const AT_ONCE: usize = 8;
/// How long changes are collected before a status is written.
const SETTLE: Duration = Duration::from_millis(200);
/// How long a profile that said on how many nodes it is waits until it says so again, for each node of
/// the cluster. All daemons are sent the profile each time; so they are sent each profile 200 times a
/// second together, whatever their number.
const PROGRESS: Duration = Duration::from_millis(5);
/// The name of the daemons, which is that of their configuration.
pub const DAEMONS: &str = "spod";

/// What the controller works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The operator's own namespace.
    pub namespace: String,
    /// Where events go.
    pub events: Events,
    /// Where to count.
    pub metrics: Arc<Metrics>,
}

/// What is looked at when something changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    Profile(ProfileKey),
    /// As `namespace/name`.
    Pod(String),
}

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (queue, keys) = queue();
    context.metrics.queue("status", &queue);
    let mut watches = Watches::start(&context, queue, stop.clone());
    for part in std::mem::take(&mut watches.complete) {
        tokio::select! {
            () = part.cancelled() => {}
            () = stop.cancelled() => break,
        }
    }
    context
        .metrics
        .add(counts::Counts::of(watches.stores.clone()));
    work(context, watches.stores.clone(), keys, stop).await;
    watches.tasks.join_all().await;
}

async fn work(
    context: Arc<Context>,
    stores: Arc<Stores>,
    keys: Keys<Work>,
    stop: CancellationToken,
) {
    let handle = |work: Work| {
        let (context, stores) = (context.clone(), stores.clone());
        async move {
            match work {
                Work::Profile(key) => reconcile(&context, &stores, &key).await,
                Work::Pod(name) => tell_pod(&context, &stores, &name).await,
            }
        }
    };
    keys.work(AT_ONCE, SETTLE, stop, handle).await;
}

async fn reconcile(context: &Context, stores: &Stores, key: &ProfileKey) -> Outcome {
    let Some(seen) = observe::observe(key, stores) else {
        stores.indexes().written.remove(key);
        return Outcome::Done;
    };
    let mut plan = plan::plan(&seen.observed);
    let now = Instant::now();
    let held = stores.indexes().departed.hold(&mut plan.reports, now);
    if plan.is_progress(&seen.observed.known) {
        let nodes = u32::try_from(seen.observed.nodes.names.len()).unwrap_or(u32::MAX);
        let last = stores.indexes().written.get(key).copied();
        let passed = last.map_or(Duration::MAX, |last| last.elapsed());
        let wait = PROGRESS.saturating_mul(nodes).saturating_sub(passed);
        if !wait.is_zero() {
            return Outcome::Again(held.map_or(wait, |held| held.min(wait)));
        }
    }
    if let Some(note) = plan.note.clone() {
        let object = object_reference(key);
        context.events.tell(&object, note).await;
    }
    let field = seen.observed.usage.as_ref().map(|(field, _)| *field);
    match apply::apply(&context.client, key, seen.version, field, &plan).await {
        Ok(()) => {
            if plan.status.is_some() {
                let mut indexes = stores.indexes();
                indexes.written.insert(key.clone(), Instant::now());
            }
            held.map_or(Outcome::Done, Outcome::Again)
        }
        Err(Error::Api(status)) if status.is_conflict() => {
            tracing::debug!(profile = %key, "changed by somebody else in between");
            Outcome::Failed
        }
        Err(error) => {
            tracing::warn!(profile = %key, error = told(&error), "cannot write what is known of a profile");
            Outcome::Failed
        }
    }
}

/// Tells a pod which of its profiles are not on its node, each once.
async fn tell_pod(context: &Context, stores: &Stores, name: &str) -> Outcome {
    let (namespace, own) = name.split_once('/').unwrap_or_default();
    let Some(pod) = stores.pods.get(&ObjectRef::new(own).within(namespace)) else {
        stores.indexes().told.remove(name);
        return Outcome::Done;
    };
    let known = missing::wanted(&pod).into_iter().map(|profile| {
        let reports = observe::reports(&profile, stores);
        (profile, reports)
    });
    for note in missing::notes(&pod, &known.collect()) {
        let is_new = {
            let mut indexes = stores.indexes();
            let told = indexes.told.entry(name.to_owned()).or_default();
            told.is_new(pod.metadata.uid.as_deref(), &note.message)
        };
        if is_new {
            context.events.tell(&pod_reference(&pod), note).await;
        }
    }
    Outcome::Done
}

fn object_reference(key: &ProfileKey) -> ObjectReference {
    let resource = key.kind.resource();
    ObjectReference {
        api_version: Some(resource.api_version),
        kind: Some(resource.kind),
        name: Some(key.name.clone()),
        ..ObjectReference::default()
    }
}
