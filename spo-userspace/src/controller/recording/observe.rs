//! What is known of a recording: from the stores, and, of profiles that stand where results are to
//! be, from the server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Error, Resource as _, ResourceExt as _};

use super::merge::Partial;
use super::place::Present;
use super::plan::{Observed, Recording, places};
use super::{Context, Guarded, Key, Stores};
use crate::api::names::{CONTAINER_ID, RECORDING_ID, RECORDING_NAMESPACE};
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
    let recording = match &object {
        Some(object) => Some(recording(context, object).await?),
        None => None,
    };
    let partials = partials(stores, key);
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
        },
        uid: object.as_ref().and_then(|object| object.uid()),
        version: object.as_ref().and_then(|object| object.resource_version()),
        key: key.clone(),
        present,
    })
}

fn partials(stores: &Stores, key: &Key) -> Vec<Partial> {
    let known = stores.partials.state();
    let own = known.iter().filter(|profile| {
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
    }
}

async fn recording(
    context: &Context,
    object: &Guarded<ProfileRecording>,
) -> Result<Recording, Error> {
    let meta = object.meta();
    let readable = object.0.as_ref().ok();
    let status = readable.and_then(|one| one.status.clone());
    let ProfileRecordingStatus {
        active_workloads,
        nodes,
    } = status.unwrap_or_default();
    let mut recorded = BTreeMap::new();
    let deleting = meta.deletion_timestamp.as_ref().map(|since| {
        let passed = Timestamp::now().duration_since(since.0);
        Duration::try_from(passed).unwrap_or_default()
    });
    for node in nodes.into_iter().filter(|node| !node.pods.is_empty()) {
        // Nobody waits for a node that is gone.
        if deleting.is_none() || is_there(context, &node.name).await? {
            recorded.insert(node.name, node.pods.into_iter().collect());
        }
    }
    Ok(Recording {
        spec: readable.map(|one| (one.spec.kind, one.spec.merge_strategy)),
        finalizers: meta.finalizers.clone().unwrap_or_default(),
        deleting,
        nodes: recorded,
        workloads: active_workloads,
    })
}

async fn is_there(context: &Context, node: &str) -> Result<bool, Error> {
    let one = ListParams::default().fields(&format!("metadata.name={node}"));
    let nodes: Api<Node> = Api::all(context.client.clone());
    Ok(!nodes.list_metadata(&one).await?.items.is_empty())
}
