//! What is told of a recording while it runs.

use std::collections::{BTreeMap, BTreeSet};

use super::input::LOGS;
use super::output::{is_held_back, partial};
use super::{Cluster, Known, Recording, RecordingKey, Take, TakeKey};
use crate::event::Call;

/// Reasons that are told of a container.
const MOST_REASONS: usize = 8;

/// What there was no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Sets of containers that ended and of which no pod was told.
    pub waiting: u64,
    /// Containers of pods that a recording could not have.
    pub takes: u64,
    /// Commands that entered containers and are not listed.
    pub commands: u64,
}

/// A recording, as it stands on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingStatus {
    /// The recording.
    pub recording: RecordingKey,
    /// By the container's name.
    pub containers: BTreeMap<String, ContainerStatus>,
    /// The pods that are recorded.
    pub pods: BTreeSet<String>,
    /// What this node could not keep, for all its recordings.
    pub dropped: Dropped,
}

/// A container of a recording, over all pods of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Different calls.
    pub syscalls: usize,
    /// When there was a new one, in seconds since 1970.
    pub last_new: Option<u64>,
    /// Pods in which it was seen.
    pub replicas: usize,
    /// Those that made all of the calls.
    pub agreeing: usize,
    /// Those in which it runs.
    pub running: usize,
    /// What may be missing, by the kernel's and our own counters.
    pub lost: u64,
    /// Why it cannot be complete.
    pub partial: BTreeSet<String>,
}

impl Cluster {
    /// All recordings that are not being deleted. Of those that are finished, nothing is said of pods.
    pub fn status(&self) -> Vec<RecordingStatus> {
        let recordings = self.recordings.values().filter(|one| !one.deleting);
        recordings.map(|one| self.status_of(one)).collect()
    }

    fn status_of(&self, recording: &Recording) -> RecordingStatus {
        let Recording { key, uid, .. } = recording;
        let takes = || self.takes.iter().filter(|(take, _)| take.recording == *uid);
        let past = || self.history.iter().filter(|((of, _), _)| of == uid);
        let mut calls: BTreeMap<&str, BTreeSet<Call>> = BTreeMap::new();
        for ((_, container), history) in past() {
            calls.entry(container).or_default().extend(&history.calls);
        }
        for (take, Take { calls: own, .. }) in takes() {
            calls.entry(&take.container).or_default().extend(own);
        }
        let mut containers: BTreeMap<String, ContainerStatus> = BTreeMap::new();
        for (container, calls) in &calls {
            let status = containers.entry((*container).to_owned()).or_default();
            status.syscalls = calls.len();
        }
        for ((_, container), history) in past() {
            let status = containers.entry(container.clone()).or_default();
            history.tell(status);
        }
        let mut pods = BTreeSet::new();
        for (take_key, take) in takes() {
            let status = containers.entry(take_key.container.clone()).or_default();
            let mut reasons = Vec::new();
            if let Some(known) = self.pods.get(&take_key.pod) {
                pods.insert(known.pod.name.clone());
                reasons = reasons_of(take_key, take, known, self.node.recorder);
            }
            let mut own = History::default();
            own.add(take, reasons);
            own.tell(status);
            status.running += usize::from(!take.running.is_empty());
        }
        if recording.finished.is_some() {
            pods.clear();
        }
        let known = self.pods.values();
        for Known { pod, .. } in known.filter(|known| !known.gone && recording.end().is_none()) {
            let selected = pod.namespace == key.namespace && pod.recordings.contains(&key.name);
            let chosen = pod.containers.iter().filter(|one| {
                let wanted = &recording.containers;
                wanted.is_empty() || wanted.contains(&one.name)
            });
            for container in chosen.filter(|one| selected && !one.ids.is_empty()) {
                let take_key = TakeKey {
                    recording: uid.clone(),
                    pod: pod.uid.clone(),
                    container: container.name.clone(),
                };
                let past = self
                    .history
                    .contains_key(&(uid.clone(), container.name.clone()));
                if self.takes.contains_key(&take_key) || (pod.ended && past) {
                    continue;
                }
                let status = containers.entry(container.name.clone()).or_default();
                let reason = if self.refused.contains(&take_key) {
                    "there was no room for more containers on the node"
                } else if self.failing {
                    "nothing can be recorded on the node now: the event CannotRecord says why"
                } else if self.node.recorder == LOGS {
                    "of a pod no call was logged: it ran before the recorder did, or under another profile"
                } else {
                    "a pod is not in it that ran before the recorder did, or for which it had no room"
                };
                insert(&mut status.partial, reason.to_owned());
            }
        }
        let refused = u64::try_from(self.refused.len()).unwrap_or(u64::MAX);
        RecordingStatus {
            recording: key.clone(),
            containers,
            pods,
            dropped: Dropped {
                takes: refused,
                ..self.dropped
            },
        }
    }
}

/// What is left of takes that are done with.
#[derive(Debug, Default)]
pub(super) struct History {
    calls: BTreeSet<Call>,
    /// How many takes had so many calls. One that has as many as all together has them all.
    sizes: BTreeMap<usize, usize>,
    last_new: Option<u64>,
    lost: u64,
    partial: BTreeSet<String>,
}

impl History {
    pub(super) fn add(&mut self, take: &Take, reasons: Vec<String>) {
        self.calls.extend(&take.calls);
        *self.sizes.entry(take.calls.len()).or_default() += 1;
        self.last_new = self.last_new.max(take.last_new);
        self.lost += take.losses().lost();
        for reason in reasons {
            insert(&mut self.partial, reason);
        }
    }

    fn tell(&self, status: &mut ContainerStatus) {
        let Self {
            calls: _,
            sizes,
            last_new,
            lost,
            partial,
        } = self;
        status.last_new = status.last_new.max(*last_new);
        status.replicas += sizes.values().sum::<usize>();
        status.agreeing += sizes.get(&status.syscalls).copied().unwrap_or_default();
        status.lost += lost;
        for reason in partial {
            insert(&mut status.partial, reason.clone());
        }
    }
}

/// Why a take cannot be complete, as a status tells it.
pub(super) fn reasons_of(key: &TakeKey, take: &Take, known: &Known, recorder: &str) -> Vec<String> {
    let mut reasons = partial(key, take, known, recorder);
    if is_held_back(key, take, known) {
        reasons.push("it ran under a seccomp filter already".to_owned());
    }
    reasons
}

/// Adds a reason; a few are enough.
fn insert(reasons: &mut BTreeSet<String>, reason: String) {
    if reasons.len() < MOST_REASONS {
        reasons.insert(reason);
    }
}
