//! Bindings, by which this version gives no pod a profile: each is told so. And with the finalizer of
//! an older operator, which nobody else would remove, they could not be deleted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Client, Error, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::ProfileBinding;
use crate::api::names::{BOUND, NOT_BOUND};
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::cluster::events::{Events, Note};
use crate::cluster::queue::{Outcome, Queue, queue};
use crate::cluster::watch::{Change, Wish, store, watch};
use crate::telemetry::metrics::Metrics;

/// How long changes are collected.
const SETTLE: Duration = Duration::from_millis(100);

/// What the controller works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Where events go.
    pub events: Events,
    /// Where broken watches are counted.
    pub metrics: Arc<Metrics>,
}

/// A binding that is being deleted, and what is to be left of its finalizers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    namespace: String,
    name: String,
    version: String,
    finalizers: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    Release(Held),
    Tell {
        namespace: String,
        name: String,
        uid: String,
    },
}

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (queue, keys) = queue();
    context.metrics.queue("leftovers", &queue);
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(context.clone(), queue, stop.clone()));
    let handle = |work: Work| {
        let context = context.clone();
        async move {
            match work {
                Work::Release(held) => release(&context, &held).await,
                Work::Tell {
                    namespace,
                    name,
                    uid,
                } => tell(&context, namespace, name, uid).await,
            }
        }
    };
    keys.work(1, SETTLE, stop, handle).await;
    tasks.join_all().await;
}

async fn follow(context: Arc<Context>, queue: Queue<Work>, stop: CancellationToken) {
    let mut known = HashSet::new();
    let changed = move |change: Change<'_, PartialObjectMeta<ProfileBinding>>| {
        let uid = change.object().uid().unwrap_or_default();
        match change {
            Change::Present(object) if object.metadata.deletion_timestamp.is_some() => {
                if let Some(held) = held(object) {
                    queue.add(Work::Release(held));
                }
            }
            Change::Present(object) => {
                if known.insert(uid.clone()) {
                    queue.add(Work::Tell {
                        namespace: object.namespace().unwrap_or_default(),
                        name: object.name_any(),
                        uid,
                    });
                }
            }
            Change::Gone(_) => {
                known.remove(&uid);
            }
        }
    };
    let failed = |resource: &str| context.metrics.watch_failed(resource);
    let (_store, writer) = store();
    let all = Api::all(context.client.clone());
    watch(all, Wish::default(), writer, stop, trim, changed, failed).await;
}

/// Removes what nobody reads.
fn trim(object: &mut PartialObjectMeta<ProfileBinding>) -> bool {
    object.metadata.annotations = None;
    object.metadata.labels = None;
    object.metadata.owner_references = None;
    true
}

async fn tell(context: &Context, namespace: String, name: String, uid: String) -> Outcome {
    let object = ObjectReference {
        api_version: Some(ProfileBinding::api_version(&()).into_owned()),
        kind: Some(ProfileBinding::kind(&()).into_owned()),
        namespace: Some(namespace),
        name: Some(name),
        uid: Some(uid),
        ..ObjectReference::default()
    };
    let note = Note {
        warning: true,
        reason: "NotBound".to_owned(),
        message: NOT_BOUND.to_owned(),
    };
    context.events.tell(&object, note).await;
    Outcome::Done
}

/// What holds an object; nothing if it is not for us to release it.
fn held(object: &PartialObjectMeta<ProfileBinding>) -> Option<Held> {
    let all = &object.metadata.finalizers.clone().unwrap_or_default();
    let others = all.iter().filter(|name| *name != BOUND);
    let finalizers: Vec<_> = others.cloned().collect();
    (finalizers.len() != all.len()).then(|| Held {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        version: object.metadata.resource_version.clone().unwrap_or_default(),
        finalizers,
    })
}

async fn release(context: &Context, held: &Held) -> Outcome {
    let Held {
        namespace,
        name,
        version,
        finalizers,
    } = held;
    let api: Api<ProfileBinding> = Api::namespaced(context.client.clone(), namespace);
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": version } });
    match api
        .patch_metadata(name, &parameters, &Patch::Merge(patch))
        .await
    {
        Ok(_) => Outcome::Done,
        // Somebody else changed it, and the watch tells what it is now; or it is gone.
        Err(Error::Api(status)) if status.is_conflict() || status.is_not_found() => Outcome::Done,
        Err(error) => {
            let error = told(&error);
            tracing::warn!(namespace, name, error, "cannot remove an old finalizer");
            Outcome::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn left(finalizers: &Value) -> Option<Vec<String>> {
        let object = json!({
            "metadata": { "name": "a", "namespace": "b", "finalizers": finalizers },
        });
        let object: PartialObjectMeta<ProfileBinding> = serde_json::from_value(object).unwrap();
        held(&object).map(|held| held.finalizers)
    }

    #[test]
    fn only_the_finalizer_of_the_older_operator_goes() {
        assert_eq!(left(&json!(null)), None);
        assert_eq!(left(&json!(["example.com/a"])), None);
        let theirs = vec!["example.com/a".to_owned()];
        assert_eq!(left(&json!(["example.com/a", BOUND])), Some(theirs));
        assert_eq!(left(&json!([BOUND])), Some(Vec::new()));
    }
}
