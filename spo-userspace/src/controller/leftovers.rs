//! Objects of kinds that no controller here looks after, with finalizers of an older operator:
//! nobody else would remove these, and the objects could not be deleted.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Client, Error, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::names::{BOUND, RECORDED, UNMERGED};
use crate::api::{ProfileBinding, ProfileRecording};
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

/// An object that is being deleted, and what is to be left of its finalizers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    resource: ApiResource,
    namespace: String,
    name: String,
    version: String,
    finalizers: Vec<String>,
    /// Whether it is a recording whose profiles were to be merged.
    unmerged: bool,
}

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (queue, keys) = queue();
    context.metrics.queue("leftovers", &queue);
    let mut tasks = JoinSet::new();
    tasks.spawn(follow::<ProfileBinding>(
        context.clone(),
        queue.clone(),
        stop.clone(),
    ));
    tasks.spawn(follow::<ProfileRecording>(
        context.clone(),
        queue,
        stop.clone(),
    ));
    let handle = |held: Held| {
        let context = context.clone();
        async move { release(&context, &held).await }
    };
    keys.work(1, SETTLE, stop, handle).await;
    tasks.join_all().await;
}

async fn follow<K>(context: Arc<Context>, queue: Queue<Held>, stop: CancellationToken)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let changed = move |change: Change<'_, PartialObjectMeta<K>>| {
        if let Change::Present(object) = change
            && let Some(held) = held(object)
        {
            queue.add(held);
        }
    };
    let failed = |error: &watcher::Error| {
        let resource = K::plural(&());
        tracing::warn!(%resource, error = told(error), "the watch broke, and is tried again");
        context.metrics.watch_failed(&resource);
    };
    let (_store, writer) = store();
    let all = Api::all(context.client.clone());
    watch(
        all,
        Wish::default(),
        writer,
        stop,
        is_deleted,
        changed,
        failed,
    )
    .await;
}

/// Nothing else is of interest.
fn is_deleted<K>(object: &mut PartialObjectMeta<K>) -> bool {
    object.metadata.deletion_timestamp.is_some()
}

/// What holds an object; nothing if it is not for us to release it.
fn held<K: Resource<DynamicType = ()>>(object: &PartialObjectMeta<K>) -> Option<Held> {
    let all = &object.metadata.finalizers.clone().unwrap_or_default();
    let is_old = |name: &&String| [BOUND, RECORDED, UNMERGED].contains(&name.as_str());
    let finalizers: Vec<_> = all.iter().filter(|name| !is_old(name)).cloned().collect();
    (finalizers.len() != all.len()).then(|| Held {
        resource: ApiResource::erase::<K>(&()),
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        version: object.metadata.resource_version.clone().unwrap_or_default(),
        finalizers,
        unmerged: all.iter().any(|name| name == UNMERGED),
    })
}

async fn release(context: &Context, held: &Held) -> Outcome {
    let Held {
        resource,
        namespace,
        name,
        version,
        finalizers,
        unmerged,
    } = held;
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, resource);
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": version } });
    match api.patch(name, &parameters, &Patch::Merge(patch)).await {
        Ok(_) => {}
        // Somebody else changed it, and the watch tells what it is now; or it is gone.
        Err(Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
            return Outcome::Done;
        }
        Err(error) => {
            let kind = &resource.kind;
            let error = told(&error);
            tracing::warn!(kind, namespace, name, error, "cannot remove old finalizers");
            return Outcome::Failed;
        }
    }
    if *unmerged {
        let object = ObjectReference {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectReference::default()
        };
        let message = "the recording is gone, and this version does not merge its profiles: those \
                       with the label spo.x-k8s.io/partial stay, for spo merge"
            .to_owned();
        let note = Note {
            warning: true,
            reason: "NotMerged".to_owned(),
            message,
        };
        context.events.tell(&object, note).await;
    }
    Outcome::Done
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn left(finalizers: &Value) -> Option<(Vec<String>, bool)> {
        let object = json!({
            "metadata": { "name": "a", "namespace": "b", "finalizers": finalizers },
        });
        let object: PartialObjectMeta<ProfileRecording> = serde_json::from_value(object).unwrap();
        held(&object).map(|held| (held.finalizers, held.unmerged))
    }

    #[test]
    fn only_finalizers_of_the_older_operator_go() {
        assert_eq!(left(&json!(null)), None);
        assert_eq!(left(&json!(["example.com/a"])), None);
        let theirs = vec!["example.com/a".to_owned()];
        let both = json!(["example.com/a", RECORDED]);
        assert_eq!(left(&both), Some((theirs, false)));
        assert_eq!(left(&json!([RECORDED, UNMERGED])), Some((Vec::new(), true)));
        assert_eq!(left(&json!([BOUND])), Some((Vec::new(), false)));
    }
}
