//! From changes of objects to what the recorder has to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::pods::{Life, Selecting, is_labelled, is_of, known, lives};
use super::watches::{Change, Stores, place, start};
use crate::api::names::TAKE;
use crate::api::profile_recording::{JOB_FAILED, MergeStrategy, Recorder, RecordingNode};
use crate::api::{ProfileRecording, ProfileRecordingSpec};
use crate::recorder::cluster::{self, Finished, Recording, RecordingKey};
use crate::telemetry::metrics::Metrics;

/// How much of a wish is told in answer.
const LONGEST_WISH: usize = 64;

/// What the recorder has to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A recording, what it says of this node, and for which wish its profiles are wanted now.
    Recording(Recording, Option<RecordingNode>, Option<String>),
    /// A recording is gone.
    RecordingGone(RecordingKey),
    /// A pod, and what is known of its containers' lives.
    Pod(cluster::Pod, BTreeMap<String, Life>),
    /// A pod is gone; by its id.
    PodGone(String),
}

impl News {
    /// Whether something may have ended in a container that is recorded.
    pub fn is_of_recorded_pod(&self) -> bool {
        match self {
            Self::Pod(pod, _) => !pod.recordings.is_empty(),
            Self::PodGone(_) => true,
            Self::Recording(..) | Self::RecordingGone(_) => false,
        }
    }

    /// Whether a recording gets nothing more.
    pub fn ends_a_recording(&self) -> bool {
        match self {
            Self::Recording(recording, ..) => recording.has_ended(),
            Self::RecordingGone(_) => true,
            Self::Pod(..) | Self::PodGone(_) => false,
        }
    }
}

/// What a recorder looks at.
pub struct Scope {
    /// The node that it is on.
    pub node: String,
    /// The operator's own namespace: its pods are never recorded.
    pub own: String,
    /// Whose recordings these are.
    pub recorder: Recorder,
    /// Whether only pods with a label of their own are recorded.
    pub labelled: bool,
}

/// What is there.
pub struct Sight {
    scope: Scope,
    stores: Stores,
    /// They end when this goes.
    _watches: JoinSet<()>,
    complete: [CancellationToken; 3],
    /// What was told of pods, by where they are.
    pods: BTreeMap<(String, String), (cluster::Pod, BTreeMap<String, Life>)>,
    /// The recordings that were told, with their ids.
    recordings: BTreeMap<RecordingKey, String>,
}

impl Sight {
    /// Watches until `stop`; what changes is told to `changes`.
    pub fn new(
        client: &Client,
        scope: Scope,
        metrics: &Arc<Metrics>,
        changes: &UnboundedSender<Change>,
        stop: &CancellationToken,
    ) -> Self {
        let (stores, watches, complete) = start(client, &scope, metrics, changes, stop);
        Self {
            scope,
            stores,
            _watches: watches,
            complete,
            pods: BTreeMap::new(),
            recordings: BTreeMap::new(),
        }
    }

    /// Waits until all is known that was there at the beginning.
    pub async fn complete(&self) {
        for part in &self.complete {
            part.cancelled().await;
        }
    }

    /// What changes mean.
    pub fn take(&mut self, changes: &[Change]) -> Vec<News> {
        let mut news = Vec::new();
        let mut spaces = BTreeSet::new();
        let mut pods = BTreeSet::new();
        for change in changes {
            match change {
                Change::Pod(place) => drop(pods.insert(place.clone())),
                Change::PodGone(pod) => self.pod_gone(pod, &mut news),
                Change::Recording(RecordingKey { namespace, .. })
                | Change::Namespace(namespace) => {
                    spaces.insert(namespace.clone());
                }
            }
        }
        for space in &spaces {
            self.recordings_of(space, &mut news);
            pods.extend(self.pods.keys().filter(|(of, _)| of == space).cloned());
        }
        for place in pods {
            self.pod(place, &mut news);
        }
        news
    }

    fn recordings_of(&mut self, space: &str, news: &mut Vec<News>) {
        let enabled = self.is_enabled(space);
        let mut before: BTreeSet<_> = self.recordings.keys().cloned().collect();
        before.retain(|key| key.namespace == space);
        for object in self.stores.recordings.state() {
            let Ok(object) = &object.0 else { continue };
            if object.namespace().as_deref() != Some(space)
                || !is_of(self.scope.recorder, &object.spec)
            {
                continue;
            }
            let recording = known_recording(object, enabled);
            let Recording { key, uid, .. } = &recording;
            // Of a namespace without the label, nothing is recorded.
            let is_known = before.remove(key);
            if is_known || enabled || own(object, &self.scope.node).is_some() {
                let earlier = self.recordings.insert(key.clone(), uid.clone());
                // One that vanished while nobody looked, and whose name another one has.
                if earlier.is_some_and(|earlier| earlier != *uid) {
                    news.push(News::RecordingGone(key.clone()));
                }
                news.push(News::Recording(
                    recording,
                    own(object, &self.scope.node),
                    wish(object),
                ));
            }
        }
        for key in before {
            self.recordings.remove(&key);
            news.push(News::RecordingGone(key));
        }
    }

    fn pod(&mut self, place: (String, String), news: &mut Vec<News>) {
        let (namespace, name) = &place;
        let object = ObjectRef::new(name).within(namespace);
        let Some(object) = self.stores.pods.get(&object) else {
            return;
        };
        let pod = self.known(&object);
        let now = (pod, lives(&object));
        let before = self.pods.get(&place);
        if before == Some(&now) {
            return;
        }
        // One that vanished while the watch was broken, and whose name another one has.
        if let Some((before, _)) = before.filter(|(before, _)| before.uid != now.0.uid) {
            news.push(News::PodGone(before.uid.clone()));
        }
        news.push(News::Pod(now.0.clone(), now.1.clone()));
        self.pods.insert(place, now);
    }

    /// How many nodes tell of a recording.
    pub fn nodes_of(&self, key: &RecordingKey) -> usize {
        let object = ObjectRef::new(&key.name).within(&key.namespace);
        let object = self.stores.recordings.get(&object);
        let object = object.as_ref().and_then(|object| object.0.as_ref().ok());
        object.map_or(0, |object| {
            object
                .status
                .as_ref()
                .map_or(0, |status| status.nodes.len())
        })
    }

    /// The pods that are there, as they were told.
    pub fn pods(&self) -> impl Iterator<Item = News> {
        let told = self.pods.values();
        told.map(|(pod, lives)| News::Pod(pod.clone(), lives.clone()))
    }

    fn pod_gone(&mut self, object: &Pod, news: &mut Vec<News>) {
        let place = place(object);
        let pod = self.known(object);
        let uid = pod.uid.clone();
        if self
            .pods
            .get(&place)
            .is_some_and(|(known, _)| known.uid == uid)
        {
            self.pods.remove(&place);
        }
        // How its containers ended may be news.
        news.push(News::Pod(pod, lives(object)));
        news.push(News::PodGone(uid));
    }

    fn known(&self, pod: &Pod) -> cluster::Pod {
        let recordings = if self.scope.labelled && !is_labelled(pod) {
            Vec::new()
        } else {
            self.specs(&pod.namespace().unwrap_or_default())
        };
        known(pod, &recordings, self.scope.recorder)
    }

    /// The recordings of a namespace that pods there can have.
    fn specs(&self, space: &str) -> Vec<Selecting> {
        if !self.is_enabled(space) {
            return Vec::new();
        }
        let all = self.stores.recordings.state();
        let own = all.iter().filter_map(|object| object.0.as_ref().ok());
        own.filter(|object| object.namespace().as_deref() == Some(space))
            .map(|object| Selecting {
                name: object.name_any(),
                spec: object.spec.clone(),
            })
            .collect()
    }

    fn is_enabled(&self, space: &str) -> bool {
        space != self.scope.own && self.stores.namespaces.get(&ObjectRef::new(space)).is_some()
    }
}

fn key(object: &ProfileRecording) -> RecordingKey {
    RecordingKey {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

/// What a recording says of this node.
fn own(object: &ProfileRecording, node: &str) -> Option<RecordingNode> {
    let mut nodes = object.status.iter().flat_map(|status| &status.nodes);
    nodes.find(|one| one.name == node).cloned()
}

/// What names the wish for profiles as they are now.
fn wish(object: &ProfileRecording) -> Option<String> {
    let wish = object.annotations().get(TAKE)?;
    Some(wish[..wish.floor_char_boundary(LONGEST_WISH)].to_owned())
}

fn known_recording(object: &ProfileRecording, enabled: bool) -> Recording {
    let ProfileRecordingSpec {
        kind: _,
        recorder: _,
        merge_strategy,
        pod_selector: _,
        containers,
        disable_profile_after_recording,
        finish: _,
    } = &object.spec;
    Recording {
        key: key(object),
        uid: object.uid().unwrap_or_default(),
        containers: containers.iter().cloned().collect(),
        created: object
            .creation_timestamp()
            .and_then(|created| u64::try_from(created.0.as_second()).ok()),
        merge: *merge_strategy == MergeStrategy::Containers,
        disabled: *disable_profile_after_recording,
        enabled,
        deleting: object.metadata.deletion_timestamp.is_some(),
        finished: object.finished().map(|finished| Finished {
            why: finished.message.clone(),
            failed: finished.reason == JOB_FAILED,
        }),
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::cluster::watch::store;

    fn recording(uid: &str) -> Event<kube::core::DeserializeGuard<ProfileRecording>> {
        let object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": "ProfileRecording",
            "metadata": { "name": "web", "namespace": "shop", "uid": uid },
            "spec": { "kind": "SeccompProfile", "recorder": "Bpf", "podSelector": {} },
        });
        Event::Apply(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn what_becomes_of_recordings_while_nobody_looks() {
        let (pods, _pods) = store();
        let (recordings, mut write) = store();
        let (namespaces, mut label) = store();
        let mut sight = Sight {
            scope: Scope {
                node: "node".to_owned(),
                own: "spo".to_owned(),
                recorder: Recorder::Bpf,
                labelled: false,
            },
            stores: Stores {
                pods,
                recordings,
                namespaces,
            },
            _watches: JoinSet::new(),
            complete: Default::default(),
            pods: BTreeMap::new(),
            recordings: BTreeMap::new(),
        };
        let mut told = || {
            let news = sight.take(&[Change::Namespace("shop".to_owned())]);
            let words = news.into_iter().map(|news| match news {
                News::Recording(one, ..) => format!("{} {}", one.uid, !one.has_ended()),
                News::RecordingGone(key) => format!("{} is gone", key.name),
                News::Pod(..) | News::PodGone(_) => String::new(),
            });
            words.collect::<Vec<_>>().join(", ")
        };
        let namespace = json!({ "metadata": { "name": "shop" } });
        let namespace: kube::core::PartialObjectMeta<k8s_openapi::api::core::v1::Namespace> =
            serde_json::from_value(namespace).unwrap();
        write.apply_watcher_event(&recording("one"));
        assert_eq!(told(), "");
        label.apply_watcher_event(&Event::Apply(namespace.clone()));
        assert_eq!(told(), "one true");
        // Deleted, and made anew.
        write.apply_watcher_event(&recording("two"));
        assert_eq!(told(), "web is gone, two true");
        // The label is taken away.
        label.apply_watcher_event(&Event::Delete(namespace));
        assert_eq!(told(), "two false");
    }
}
