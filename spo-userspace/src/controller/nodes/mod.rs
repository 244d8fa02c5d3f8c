//! The daemons' pods, the repair of nodes whose daemon lost its folder, and the taint of nodes whose
//! daemon has just begun. Only root can make a folder again, and that is what the pod's first step does.
//! So the pod is deleted, and another takes its place.

mod plan;
mod startup;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ContainerStatus, Node, ObjectReference, Pod, PodSpec, PodStatus};
use kube::api::{Api, DeleteParams, ObjectMeta, Preconditions};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{Store, store::Writer};
use kube::{Client, Error, ResourceExt as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::plan::{Decision, Observed};
use super::status::DAEMONS;
use crate::api::SecurityProfileNodeStatus;
use crate::api::common::ProfileStatus;
use crate::api::names::PROFILE_STATE;
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::cluster::events::{Events, Note};
use crate::cluster::queue::{Outcome, Queue, queue};
use crate::cluster::watch::{Change, Wish, store, watch};
use crate::profile::named::Named as _;
use crate::telemetry::metrics::Metrics;

/// The reason that a daemon gives whose folder is missing, or is not its own.
const UNUSABLE: &str = "FolderUnusable";
/// How long changes are collected.
const SETTLE: Duration = Duration::from_millis(500);

/// What a node says of a profile; another version may say what this one cannot read.
type Report = DeserializeGuard<SecurityProfileNodeStatus>;

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

/// Fills the store of the daemons' pods, and repairs nodes, until `stop`.
pub async fn run(
    context: Arc<Context>,
    pods: Store<Pod>,
    writer: Writer<Pod>,
    stop: CancellationToken,
) {
    let (queue, keys) = queue();
    context.metrics.queue("nodes", &queue);
    let (reports, reports_writer) = store();
    let mut tasks = JoinSet::new();
    let labels = Wish {
        labels: Some(format!("app={MANAGER},name={DAEMONS}")),
        ..Wish::default()
    };
    let own = Api::namespaced(context.client.clone(), &context.namespace);
    let failed = || {
        let metrics = context.metrics.clone();
        move |resource: &str| metrics.watch_failed(resource)
    };
    let words = queue.clone();
    let changed = move |change: Change<'_, Pod>| {
        if let Some(node) = node_of(change.object()) {
            words.add(node.to_owned());
        }
    };
    tasks.spawn(watch(
        own,
        labels,
        writer,
        stop.clone(),
        trim,
        changed,
        failed(),
    ));
    let (nodes, nodes_writer) = store();
    let words = queue.clone();
    let changed = move |change: Change<'_, Node>| words.add(change.object().name_any());
    tasks.spawn(watch(
        Api::all(context.client.clone()),
        Wish::default(),
        nodes_writer,
        stop.clone(),
        startup::trim,
        changed,
        failed(),
    ));
    let errors = Wish {
        labels: Some(format!("{PROFILE_STATE}={}", ProfileStatus::Error.name())),
        ..Wish::default()
    };
    let all = Api::all(context.client.clone());
    let changed = asks(queue);
    tasks.spawn(watch(
        all,
        errors,
        reports_writer,
        stop.clone(),
        is_about_folder,
        changed,
        failed(),
    ));
    let last: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let handle = |node: String| {
        let (context, pods, reports) = (context.clone(), pods.clone(), reports.clone());
        let (last, nodes) = (last.clone(), nodes.clone());
        async move {
            let admitted = admit(&context, &nodes, &pods, &node).await;
            match repair(&context, &pods, &reports, &last, node).await {
                Outcome::Done if !admitted => Outcome::Failed,
                outcome => outcome,
            }
        }
    };
    keys.work(1, SETTLE, stop, handle).await;
    tasks.join_all().await;
}

fn asks(queue: Queue<String>) -> impl FnMut(Change<'_, Report>) {
    move |change| {
        if let Ok(report) = &change.object().0 {
            queue.add(report.spec.node_name.clone());
        }
    }
}

/// Whether a report says that the folder is unusable; nothing else is of interest.
fn is_about_folder(report: &mut Report) -> bool {
    let status = report
        .0
        .as_ref()
        .ok()
        .and_then(|report| report.status.as_ref());
    status.and_then(|status| status.reason.as_deref()) == Some(UNUSABLE)
}

/// Lets pods onto a node whose daemon is ready. Whether that could be done.
async fn admit(context: &Context, nodes: &Store<Node>, pods: &Store<Pod>, node: &str) -> bool {
    match startup::admit(&context.client, nodes, pods, node).await {
        Ok(false) => true,
        Ok(true) => {
            tracing::info!(
                node,
                "the taint is gone: the daemon has looked at all profiles"
            );
            true
        }
        // It is gone, or the watch tells what it is now.
        Err(Error::Api(status)) if status.is_not_found() || status.is_conflict() => true,
        Err(error) => {
            let error = told(&error);
            tracing::warn!(node, error, "cannot take the taint of a new node away");
            false
        }
    }
}

async fn repair(
    context: &Context,
    pods: &Store<Pod>,
    reports: &Store<Report>,
    last: &Mutex<HashMap<String, Instant>>,
    node: String,
) -> Outcome {
    let reports = reports.state();
    let mut reports = reports.iter().filter_map(|report| report.0.as_ref().ok());
    let report = reports.find(|report| report.spec.node_name == node);
    let pods = pods.state();
    let pod = pods.iter().find(|pod| node_of(pod) == Some(node.as_str()));
    let before = {
        let last = last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(&node).copied()
    };
    let decision = plan::plan(&Observed {
        broken: report.is_some(),
        pod: pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_none()),
        since_last: before.map(|before| before.elapsed()),
    });
    let pod = match (decision, pod) {
        (Decision::Restart, Some(pod)) => pod,
        (Decision::Wait(time), _) => return Outcome::Again(time),
        _ => return Outcome::Done,
    };
    match delete(context, pod).await {
        Ok(()) => {
            tracing::warn!(
                node,
                pod = pod.name_any(),
                "the daemon's folder is unusable: it begins anew"
            );
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            last.insert(node.clone(), Instant::now());
        }
        Err(error) => {
            tracing::warn!(
                node,
                error = told(&error),
                "cannot have a daemon begin anew"
            );
            return Outcome::Failed;
        }
    }
    let why = report.and_then(|report| report.status.as_ref()?.message.clone());
    context.events.tell(&reference(&node), note(why)).await;
    Outcome::Again(plan::PAUSE)
}

/// Deletes this very pod; one of the same name that came after it is another one.
async fn delete(context: &Context, pod: &Pod) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &context.namespace);
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: pod.uid(),
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    };
    match pods.delete(&pod.name_any(), &parameters).await {
        Err(Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        result => result.map(drop),
    }
}

fn reference(node: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(node.to_owned()),
        ..ObjectReference::default()
    }
}

fn note(why: Option<String>) -> Note {
    let why = why.unwrap_or_else(|| "the folder of profiles is unusable".to_owned());
    Note {
        warning: true,
        reason: "RestartedDaemon".to_owned(),
        message: format!(
            "the daemon's pod is deleted, so that the next one sets the node up again: {why}"
        ),
    }
}

/// The node that a pod is on, or is to be on.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Whether all of a pod's containers are ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Why a container of a pod does not run, in a word, such as `ImagePullBackOff`.
pub fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let first = status.init_container_statuses.iter().flatten();
    let all = first.chain(status.container_statuses.iter().flatten());
    all.filter_map(|container| {
        let state = container.state.as_ref()?;
        let waiting = state
            .waiting
            .as_ref()
            .and_then(|state| state.reason.clone());
        let ended = state
            .terminated
            .as_ref()
            .filter(|state| state.exit_code != 0);
        waiting.or_else(|| ended.and_then(|state| state.reason.clone()))
    })
    // That it waits for the one before is no news.
    .find(|why| why != "PodInitializing")
}

/// Removes what nobody here reads.
fn trim(pod: &mut Pod) -> bool {
    let slim = |container: ContainerStatus| ContainerStatus {
        name: container.name,
        ready: container.ready,
        state: container.state,
        ..ContainerStatus::default()
    };
    let all = |statuses: Option<Vec<ContainerStatus>>| {
        statuses.map(|statuses| statuses.into_iter().map(slim).collect())
    };
    let status = pod.status.take().unwrap_or_default();
    let meta = std::mem::take(&mut pod.metadata);
    *pod = Pod {
        metadata: ObjectMeta {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            deletion_timestamp: meta.deletion_timestamp,
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            node_name: pod.spec.take().and_then(|spec| spec.node_name),
            ..PodSpec::default()
        }),
        status: Some(PodStatus {
            conditions: status.conditions,
            init_container_statuses: all(status.init_container_statuses),
            container_statuses: all(status.container_statuses),
            ..PodStatus::default()
        }),
    };
    true
}

#[cfg(test)]
mod tests;
