//! Recordings: what nodes recorded of them is merged as it comes, and they stay until nodes have
//! handed in what they have. Those with a rule for their end are ended.

pub(super) mod apply;
mod finish;
mod jobs;
pub(super) mod merge;
pub(super) mod observe;
pub(super) mod place;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Api, Resource as _, ResourceExt as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::jobs::Jobs;
use self::plan::Step;
use crate::api::names::{PARTIAL, RECORDING_ID, RECORDING_NAMESPACE};
use crate::api::{ProfileRecording, SeccompProfile};
use crate::cluster::error::told;
use crate::cluster::events::Events;
use crate::cluster::queue::{Outcome, Queue, queue};
use crate::cluster::watch::{Change, Wish, store, watch};
use crate::telemetry::metrics::Metrics;

/// How long changes are collected: nodes may hand in many profiles at once.
const SETTLE: Duration = Duration::from_secs(1);
/// Recordings that are worked on at a time.
const AT_ONCE: usize = 4;

/// An object that this version may be unable to read.
type Guarded<K> = DeserializeGuard<K>;

/// What the controller works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Where events go.
    pub events: Events,
    /// Where to count.
    pub metrics: Arc<Metrics>,
}

/// A recording, which may be gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    name: String,
}

#[derive(Clone)]
struct Stores {
    recordings: Store<Guarded<ProfileRecording>>,
    partials: Store<Guarded<SeccompProfile>>,
    jobs: Arc<Jobs>,
}

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (queue, keys) = queue();
    context.metrics.queue("recordings", &queue);
    let (recordings, recordings_writer) = store();
    let (partials, partials_writer) = store();
    let (known, found) = (Wish::default(), labelled());
    let complete = [known.complete.clone(), found.complete.clone()];
    let mut tasks = JoinSet::new();
    tasks.spawn(watch(
        Api::all(context.client.clone()),
        known,
        recordings_writer,
        stop.clone(),
        |_| true,
        of_recording(queue.clone()),
        failed(&context),
    ));
    tasks.spawn(watch(
        Api::all(context.client.clone()),
        found,
        partials_writer,
        stop.clone(),
        |_| true,
        of_partial(queue.clone()),
        failed(&context),
    ));
    for part in complete {
        tokio::select! {
            () = part.cancelled() => {}
            () = stop.cancelled() => break,
        }
    }
    let stores = Stores {
        recordings,
        partials,
        jobs: Arc::new(Jobs::new(queue, stop.clone())),
    };
    let handle = |key: Key| {
        let (context, stores) = (context.clone(), stores.clone());
        async move { reconcile(&context, &stores, &key).await }
    };
    keys.work(AT_ONCE, SETTLE, stop, handle).await;
    tasks.join_all().await;
}

fn failed(context: &Context) -> impl FnMut(&str) + use<> {
    let metrics = context.metrics.clone();
    move |resource| metrics.watch_failed(resource)
}

fn labelled() -> Wish {
    Wish {
        labels: Some(format!("{PARTIAL},{RECORDING_ID},{RECORDING_NAMESPACE}")),
        ..Wish::default()
    }
}

fn of_recording(queue: Queue<Key>) -> impl FnMut(Change<'_, Guarded<ProfileRecording>>) {
    move |change| {
        let object = change.object();
        queue.add(Key {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        });
    }
}

fn of_partial(queue: Queue<Key>) -> impl FnMut(Change<'_, Guarded<SeccompProfile>>) {
    move |change| {
        if let Some(key) = observe::recording_of(change.object()) {
            queue.add(key);
        }
    }
}

async fn reconcile(context: &Context, stores: &Stores, key: &Key) -> Outcome {
    let seen = match observe::observe(context, stores, key).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::warn!(recording = %key, error = told(&error), "cannot look at a recording and its profiles");
            return Outcome::Failed;
        }
    };
    let mut outcome = Outcome::Done;
    for step in plan::plan(&seen.observed) {
        let reference = reference(key, seen.uid.as_ref());
        match apply::apply(context, &seen, &reference, step.clone()).await {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                tracing::debug!(recording = %key, "changed by somebody else in between");
                return Outcome::Failed;
            }
            Err(error) => {
                tracing::warn!(recording = %key, error = told(&error), "cannot do what is due for a recording");
                apply::tell_failure(context, &reference, &step, &error).await;
                return Outcome::Failed;
            }
        }
        if let Step::Again(after) = step {
            outcome = Outcome::Again(after);
        }
    }
    outcome
}

fn reference(key: &Key, uid: Option<&String>) -> ObjectReference {
    ObjectReference {
        api_version: Some(ProfileRecording::api_version(&()).into_owned()),
        kind: Some(ProfileRecording::kind(&()).into_owned()),
        name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
        uid: uid.cloned(),
        ..ObjectReference::default()
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}
