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

/// A container that ran and is in no take.
pub(super) struct Absent {
    pub(super) key: TakeKey,
    pub(super) reason: &'static str,
    /// It ran before the recording was made.
    pub(super) was_before: bool,
}

impl Cluster {
    /// All recordings that the API server has. Of those that are finished, nothing is said of pods.
    pub fn status(&self) -> Vec<RecordingStatus> {
        let recordings = self.recordings.values();
        let there = recordings.filter(|one| !self.gone.contains(&one.uid));
        there.map(|one| self.status_of(one)).collect()
    }

    /// The containers of a pod that ran and are not in a recording that is open. What had ended before it was
    /// made is none of it.
    pub(super) fn absent(&self, recording: &Recording, known: &Known) -> Vec<Absent> {
        let Recording {
            key,
            uid,
            containers: wanted,
            created,
            ..
        } = recording;
        let Known {
            pod, gone, told, ..
        } = known;
        if *gone || pod.namespace != key.namespace || !pod.recordings.contains(&key.name) {
            return Vec::new();
        }
        let ran = pod.containers.iter().filter(|one| {
            let is_wanted = wanted.is_empty() || wanted.contains(&one.name);
            is_wanted && !one.ids.is_empty() && !told.contains(&(uid.clone(), one.name.clone()))
        });
        let absent = ran.map(|one| {
            let key = TakeKey {
                recording: uid.clone(),
                pod: pod.uid.clone(),
                container: one.name.clone(),
            };
            let both = one.began.zip(*created);
            (key, both.is_some_and(|(began, created)| began < created))
        });
        absent
            .filter(|(key, was_before)| {
                !(self.takes.contains_key(key) || (pod.ended && *was_before))
            })
            .map(|(key, was_before)| Absent {
                reason: self.absence(&key, pod.ended),
                key,
                was_before,
            })
            .collect()
    }

    /// Why there is no such take.
    fn absence(&self, key: &TakeKey, ended: bool) -> &'static str {
        if self.refused.contains(key) {
            "there was no room for more containers on the node"
        } else if self.failing {
            "nothing could be recorded on the node: the event CannotRecord says why"
        } else if self.node.recorder == LOGS {
            "of a pod no call was logged: it ran before the recorder did, or under another profile"
        } else if ended {
            "a pod is not in it that ended before the recorder began, or for which it had no room: \
             it may have been recorded by an earlier one"
        } else {
            "a pod is not in it that ran before the recorder did, or for which it had no room"
        }
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
        if !recording.has_ended() {
            let known = self.pods.values();
            for Absent { key, reason, .. } in known.flat_map(|known| self.absent(recording, known))
            {
                let status = containers.entry(key.container).or_default();
                insert(&mut status.partial, reason.to_owned());
            }
        }
        let refused = self.refused.iter().filter(|key| key.recording == *uid);
        let refused = u64::try_from(refused.count()).unwrap_or(u64::MAX);
        let refused = refused + past().map(|(_, past)| past.refused).sum::<u64>();
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
    /// Containers for which there was no room.
    refused: u64,
}

impl History {
    /// Whether anything was recorded.
    pub(super) fn has_any(&self) -> bool {
        !self.sizes.is_empty()
    }

    /// Why it is not complete.
    pub(super) fn say(&mut self, reasons: Vec<String>) {
        for reason in reasons {
            insert(&mut self.partial, reason);
        }
    }

    /// A container that ran is not in it.
    pub(super) fn miss(&mut self, reason: &str, refused: bool) {
        self.refused += u64::from(refused);
        insert(&mut self.partial, reason.to_owned());
    }

    pub(super) fn add(&mut self, take: &Take, reasons: Vec<String>) {
        self.calls.extend(&take.calls);
        *self.sizes.entry(take.calls.len()).or_default() += 1;
        self.last_new = self.last_new.max(take.last_new);
        self.lost += take.losses().lost();
        self.say(reasons);
    }

    fn tell(&self, status: &mut ContainerStatus) {
        let Self {
            calls: _,
            sizes,
            last_new,
            lost,
            partial,
            refused: _,
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
