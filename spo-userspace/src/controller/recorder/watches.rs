//! What is watched: the node's own pods, all recordings, and the labels of namespaces.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::pods::trim;
use super::sight::Scope;
use crate::api::ProfileRecording;
use crate::api::names::ENABLE_RECORDING;
use crate::cluster::watch::{self, Wish, store};
use crate::recorder::cluster::RecordingKey;
use crate::telemetry::metrics::Metrics;

/// Something is there, or changed, or is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A pod of the node, by its namespace and its name.
    Pod((String, String)),
    /// A pod of the node is gone; as it was at the end.
    PodGone(Box<Pod>),
    /// A recording.
    Recording(RecordingKey),
    /// Whether pods of a namespace may be recorded.
    Namespace(String),
}

#[derive(Clone)]
pub(super) struct Stores {
    pub(super) pods: Store<Pod>,
    pub(super) recordings: Store<DeserializeGuard<ProfileRecording>>,
    pub(super) namespaces: Store<PartialObjectMeta<Namespace>>,
}

/// Watches until `stop`; what changes is told. The tokens are cancelled when all is known that was
/// there at the beginning. Little is kept of pods that lack a label which they need.
pub(super) fn start(
    client: &Client,
    scope: &Scope,
    metrics: &Arc<Metrics>,
    changes: &UnboundedSender<Change>,
    stop: &CancellationToken,
) -> (Stores, JoinSet<()>, [CancellationToken; 3]) {
    let (pods, pods_writer) = store();
    let (recordings, recordings_writer) = store();
    let (namespaces, namespaces_writer) = store();
    let own = Wish {
        fields: Some(format!("spec.nodeName={}", scope.node)),
        ..Wish::default()
    };
    let enabled = Wish {
        labels: Some(ENABLE_RECORDING.to_owned()),
        ..Wish::default()
    };
    let all = Wish::default();
    let labelled = scope.labelled;
    let complete = [&own, &all, &enabled].map(|wish| wish.complete.clone());
    let counted = metrics.clone();
    let failed = move |resource: &str| counted.watch_failed(resource);
    let mut tasks = JoinSet::new();
    // Nobody receives any more when the process ends.
    let tell = changes.clone();
    tasks.spawn(watch::watch(
        Api::<Pod>::all(client.clone()),
        own,
        pods_writer,
        stop.clone(),
        move |pod: &mut Pod| {
            trim(pod, labelled);
            true
        },
        move |change| {
            let change = match change {
                watch::Change::Present(pod) => Change::Pod(place(pod)),
                watch::Change::Gone(pod) => Change::PodGone(Box::new(pod.clone())),
            };
            drop(tell.send(change));
        },
        failed.clone(),
    ));
    let tell = changes.clone();
    tasks.spawn(watch::watch(
        Api::<DeserializeGuard<ProfileRecording>>::all(client.clone()),
        all,
        recordings_writer,
        stop.clone(),
        |_| true,
        move |change| {
            let object = change.object();
            let key = RecordingKey {
                namespace: object.namespace().unwrap_or_default(),
                name: object.name_any(),
            };
            drop(tell.send(Change::Recording(key)));
        },
        failed.clone(),
    ));
    let tell = changes.clone();
    tasks.spawn(watch::watch(
        Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
        enabled,
        namespaces_writer,
        stop.clone(),
        |_| true,
        move |change| drop(tell.send(Change::Namespace(change.object().name_any()))),
        failed,
    ));
    let stores = Stores {
        pods,
        recordings,
        namespaces,
    };
    (stores, tasks, complete)
}

pub(super) fn place(pod: &Pod) -> (String, String) {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}
