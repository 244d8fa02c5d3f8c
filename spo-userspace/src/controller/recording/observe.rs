//! What is known of a recording: from the stores, and, of profiles that stand where results are to
//! be, from the server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Error, Resource as _, ResourceExt as _};

use super::finish::Progress;
use super::jobs::JobEnd;
use super::merge::Partial;
use super::place::Present;
use super::plan::{Observed, Recording, places};
use super::{Context, Guarded, Key, Stores};
use crate::api::names::{CONTAINER_ID, PARTIAL, RECORDING_ID, RECORDING_NAMESPACE};
use crate::api::profile_recording::ProfileRecordingStatus;
use crate::api::{ProfileRecording, SeccompProfile};

/// A recording as it was at a moment.
pub(super) struct Seen {
    pub(super) key: Key,
    pub(super) observed: Observed,
    /// The recording's identity, and its version.
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
    /// The profiles that stand where results are to be, by name.
    pub(super) present: BTreeMap<String, Guarded<SeccompProfile>>,
}

/// The recording that a profile says it is of.
pub(super) fn recording_of(profile: &Guarded<SeccompProfile>) -> Option<Key> {
    let labels = profile.labels();
    Some(Key {
        namespace: labels.get(RECORDING_NAMESPACE)?.clone(),
        name: labels.get(RECORDING_ID)?.clone(),
    })
}

pub(super) async fn observe(context: &Context, stores: &Stores, key: &Key) -> Result<Seen, Error> {
    let object = ObjectRef::new(&key.name).within(&key.namespace);
    let object = stores.recordings.get(&object);
    let readable = object.as_ref().and_then(|object| object.0.as_ref().ok());
    let job = stores.jobs.wait(context, key, awaited(readable));
    let recording = match &object {
        Some(object) => Some(recording(context, object, job).await?),
        None => None,
    };
    let finished = readable.and_then(|one| one.finished());
    let partials = if finished.is_some_and(|said| said.status != "True") {
        // What nodes have just handed in is to be in the result when it is said to be complete.
        let wish = ListParams::default().labels(&labels(key));
        let profiles: Api<Guarded<SeccompProfile>> = Api::all(context.client.clone());
        let found = profiles.list(&wish).await?.items;
        partials(found.iter(), key)
    } else {
        let known = stores.partials.state();
        partials(known.iter().map(|known| &**known), key)
    };
    let profiles: Api<Guarded<SeccompProfile>> = Api::all(context.client.clone());
    let containers: BTreeSet<_> = partials.iter().map(|one| &one.container).collect();
    let mut present = BTreeMap::new();
    for name in containers
        .into_iter()
        .flat_map(|one| places(&key.name, one))
    {
        if let Some(found) = profiles.get_opt(&name).await? {
            present.insert(name, found);
        }
    }
    Ok(Seen {
        observed: Observed {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            recording,
            partials,
            present: present
                .iter()
                .map(|(name, found)| (name.clone(), present_of(found)))
                .collect(),
            later: None,
        },
        uid: object.as_ref().and_then(|object| object.uid()),
        version: object.as_ref().and_then(|object| object.resource_version()),
        key: key.clone(),
        present,
    })
}

fn labels(key: &Key) -> String {
    let Key { namespace, name } = key;
    format!("{PARTIAL},{RECORDING_ID}={name},{RECORDING_NAMESPACE}={namespace}")
}

fn partials<'p>(
    known: impl Iterator<Item = &'p Guarded<SeccompProfile>>,
    key: &Key,
) -> Vec<Partial> {
    let own = known.filter(|profile| {
        recording_of(profile).as_ref() == Some(key) && profile.meta().deletion_timestamp.is_none()
    });
    let mut partials: Vec<_> = own
        .filter_map(|profile| {
            Some(Partial {
                name: profile.name_any(),
                uid: profile.uid(),
                container: profile.labels().get(CONTAINER_ID)?.clone(),
                annotations: profile.annotations().clone(),
                spec: profile.0.as_ref().ok().map(|profile| profile.spec.clone()),
            })
        })
        .collect();
    partials.sort_by(|a, b| a.name.cmp(&b.name));
    partials
}

pub(in crate::controller) fn present_of(profile: &Guarded<SeccompProfile>) -> Present {
    Present {
        labels: profile.labels().clone(),
        annotations: profile.annotations().clone(),
        spec: profile.0.as_ref().ok().map(|profile| profile.spec.clone()),
        deleting: profile.meta().deletion_timestamp.is_some(),
    }
}

/// The Job that a recording waits for.
fn awaited(recording: Option<&ProfileRecording>) -> Option<&str> {
    let recording = recording?;
    let is_open = recording.metadata.deletion_timestamp.is_none() && recording.finished().is_none();
    let finish = recording.spec.finish.as_ref().filter(|_| is_open);
    finish?.job.as_deref()
}

async fn recording(
    context: &Context,
    object: &Guarded<ProfileRecording>,
    job: Option<JobEnd>,
) -> Result<Recording, Error> {
    let meta = object.meta();
    let readable = object.0.as_ref().ok();
    let status = readable.and_then(|one| one.status.clone());
    let ProfileRecordingStatus {
        active_workloads,
        nodes,
        start_time,
        conditions: _,
    } = status.unwrap_or_default();
    let now = Timestamp::now();
    let deleting = meta.deletion_timestamp.as_ref().map(|since| {
        let passed = now.duration_since(since.0);
        Duration::try_from(passed).unwrap_or_default()
    });
    let mut progress = Progress {
        rules: readable.and_then(|one| one.spec.finish.clone()),
        now,
        generation: meta.generation,
        created: meta.creation_timestamp.as_ref().map_or(now, |at| at.0),
        started: start_time.map(|at| at.0),
        nodes: nodes.len(),
        job,
        finished: readable.and_then(|one| one.finished().cloned()),
        ..Progress::default()
    };
    let ends = deleting.is_some() || progress.finished.is_some();
    let mut recorded = BTreeMap::new();
    let mut incomplete: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut missing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in nodes {
        for container in &node.containers {
            if !container.incomplete.is_empty() {
                let known = incomplete.entry(container.name.clone()).or_default();
                known.extend(container.incomplete.iter().cloned());
            }
            if !node.pods.is_empty() {
                let nodes = missing.entry(container.name.clone()).or_default();
                nodes.insert(node.name.clone());
            }
        }
        for container in node.containers.iter().filter(|one| one.replicas > 0) {
            let last = container.last_new_time.as_ref().map(|at| at.0);
            progress.records = true;
            progress.last_new = progress.last_new.max(last);
        }
        // Nobody waits for a node that is gone.
        let waits = !node.pods.is_empty() || !node.finished;
        if ends && waits && !is_there(context, &node.name).await? {
            continue;
        }
        if !node.finished {
            progress.open.push(node.name.clone());
        }
        if !node.pods.is_empty() {
            recorded.insert(node.name, node.pods.into_iter().collect());
        }
    }
    Ok(Recording {
        uid: meta.uid.clone(),
        progress,
        spec: readable.map(|one| (one.spec.kind, one.spec.merge_strategy)),
        finalizers: meta.finalizers.clone().unwrap_or_default(),
        deleting,
        nodes: recorded,
        incomplete,
        missing,
        workloads: active_workloads,
    })
}

async fn is_there(context: &Context, node: &str) -> Result<bool, Error> {
    let one = ListParams::default().fields(&format!("metadata.name={node}"));
    let nodes: Api<Node> = Api::all(context.client.clone());
    Ok(!nodes.list_metadata(&one).await?.items.is_empty())
}
