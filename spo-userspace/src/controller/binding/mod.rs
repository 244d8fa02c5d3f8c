//! Bindings: which pods each of them counts for, the complain forms of profiles that they ask for, and
//! the pods that wait for a profile. What pods were given stands in their annotation, which the webhook
//! writes.

mod form;
mod pods;
mod watches;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::DeserializeGuard;
use kube::{Client, Resource as _, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use self::watches::Watches;
use crate::api::ProfileBinding;
use crate::cluster::events::Events;
use crate::cluster::queue::queue;
use crate::telemetry::metrics::Metrics;

/// How long changes are collected: the pods of a workload come all at once.
const SETTLE: Duration = Duration::from_millis(500);
/// What is worked on at a time.
const AT_ONCE: usize = 4;

/// An object that this version may be unable to read.
type Guarded<K> = DeserializeGuard<K>;

/// What the controller works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The operator's own namespace, whose bindings may be for others.
    pub namespace: String,
    /// Where events go.
    pub events: Events,
    /// Where to count.
    pub metrics: Arc<Metrics>,
}

/// An object of a namespace, which may be gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    namespace: String,
    name: String,
}

/// What is looked at when something changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    /// The pods of a binding.
    Binding(Key),
    /// The complain form of the seccomp profile of this name.
    Form(String),
    /// What a pod waits for, or runs without.
    Pod(Key),
}

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (queue, keys) = queue();
    context.metrics.queue("bindings", &queue);
    let Watches {
        stores,
        tasks,
        complete,
    } = Watches::start(&context, &queue, &stop);
    for part in complete {
        tokio::select! {
            () = part.cancelled() => {}
            () = stop.cancelled() => break,
        }
    }
    let handle = |work: Work| {
        let (context, stores) = (context.clone(), stores.clone());
        async move {
            match work {
                Work::Binding(key) => workloads::reconcile(&context, &stores, &key).await,
                Work::Form(profile) => form::reconcile(&context, &stores, &profile).await,
                Work::Pod(key) => pods::reconcile(&context, &stores, &key).await,
            }
        }
    };
    keys.work(AT_ONCE, SETTLE, stop, handle).await;
    tasks.join_all().await;
}

impl Key {
    fn of<K: kube::Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }

    /// One that is written as `namespace/name`.
    fn read(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

fn reference(binding: &Guarded<ProfileBinding>) -> ObjectReference {
    ObjectReference {
        api_version: Some(ProfileBinding::api_version(&()).into_owned()),
        kind: Some(ProfileBinding::kind(&()).into_owned()),
        namespace: binding.namespace(),
        name: Some(binding.name_any()),
        uid: binding.uid(),
        ..ObjectReference::default()
    }
}
