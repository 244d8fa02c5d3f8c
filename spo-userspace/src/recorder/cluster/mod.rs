//! What a node records for a cluster. A state machine: it is told of pods, recordings and of what the
//! kernel saw, and says what is to be done. No IO, no clock.
//!
//! The kernel keeps a set for everything new. Here it is decided whose it is: a *subject* (a
//! container, or what entered one later) belongs to a container of a pod by the runtime's id, and a
//! *take* is what one recording has of one container of one pod, over all its restarts. From each
//! take comes a profile.
//!
//! | file | what |
//! |---|---|
//! | `input.rs` | what it is told |
//! | `command.rs` | whether what entered a container is named in its pod |
//! | `take.rs` | what a recording has of a container |
//! | `going.rs` | what ends, and what is forgotten then |
//! | `output.rs` | the profile of a take |
//! | `status.rs` | what is told of a recording while it runs |

mod command;
mod going;
mod input;
mod output;
mod status;
mod take;

use std::collections::{BTreeMap, BTreeSet};

pub use self::command::Command;
pub use self::input::{
    Entered, Finished, HandedIn, Limits, Node, Observed, Pod, PodContainer, Recording,
    RecordingKey, Started,
};
pub use self::output::{FAILED, Output, POD_ENDED};
use self::status::History;
pub use self::status::{ContainerStatus, Dropped, RecordingStatus};
use self::take::{End, Take, TakeKey};
use crate::event::SubjectId;

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The kernel need not keep this set any longer.
    Release(SubjectId),
    /// A profile is to be written, in place of what was written for it before.
    Write(Box<Output>),
}

/// What is known.
#[derive(Debug)]
pub struct Cluster {
    node: Node,
    limits: Limits,
    /// By the API server's id: another recording may have the name of one that is still written.
    recordings: BTreeMap<String, Recording>,
    /// Those of them that the API server has no more: something of theirs is still to be written.
    gone: BTreeSet<String>,
    pods: BTreeMap<String, Known>,
    /// By the runtime's id: the pod and the container. Statuses tell only the last two of each.
    containers: BTreeMap<String, (String, String)>,
    subjects: BTreeMap<SubjectId, Kept>,
    takes: BTreeMap<TakeKey, Take>,
    /// Takes whose profiles are being written.
    writing: BTreeSet<TakeKey>,
    /// What earlier recorders had handed in, of pods that are not told yet.
    before: BTreeSet<HandedIn>,
    /// Takes for which there was no room.
    refused: BTreeSet<TakeKey>,
    /// What came of takes that are done with, by the recording's id and the container.
    history: BTreeMap<(String, String), History>,
    dropped: Dropped,
    /// Whether it cannot be seen what containers do.
    failing: bool,
    steps: Vec<Step>,
}

/// A pod, and whether the API server still has it.
#[derive(Debug)]
struct Known {
    pod: Pod,
    gone: bool,
    /// The runtime's ids of its containers that ran, with their names.
    ids: BTreeMap<String, String>,
    /// Recordings, by their ids, and containers of which it is told what they have of this pod.
    told: BTreeSet<(String, String)>,
}

/// A subject that is not released yet.
#[derive(Debug)]
struct Kept {
    started: Started,
    observed: Observed,
    /// What it ran first, if it entered a container that was there.
    command: Option<Command>,
    /// The kernel has no set for it any more: what was observed is all.
    ended: bool,
}

impl Cluster {
    /// Nothing is known yet.
    pub fn new(node: Node, limits: Limits) -> Self {
        Self {
            node,
            limits,
            recordings: BTreeMap::new(),
            gone: BTreeSet::new(),
            pods: BTreeMap::new(),
            containers: BTreeMap::new(),
            subjects: BTreeMap::new(),
            takes: BTreeMap::new(),
            writing: BTreeSet::new(),
            before: BTreeSet::new(),
            refused: BTreeSet::new(),
            history: BTreeMap::new(),
            dropped: Dropped::default(),
            failing: false,
            steps: Vec::new(),
        }
    }

    /// A recording is there, new or changed. Of one that has ended, what its containers did is to be
    /// told first: after this, their sets are released.
    pub fn recording(&mut self, recording: Recording) {
        if let Some(end) = recording.end() {
            self.finish(&recording.uid, end);
        }
        self.gone.remove(&recording.uid);
        self.recordings.insert(recording.uid.clone(), recording);
        self.settle();
    }

    /// What earlier recorders of the node had handed in.
    pub fn handed_in(&mut self, before: BTreeSet<HandedIn>) {
        self.before = before;
    }

    /// A recording is gone. What it has is written all the same.
    pub fn recording_gone(&mut self, key: &RecordingKey) {
        for uid in self.uids(key) {
            self.finish(&uid, End::RecordingDeleted);
            if let Some(recording) = self.recordings.get_mut(&uid) {
                recording.deleting = true;
            }
            self.gone.insert(uid);
        }
        self.settle();
    }

    /// What this node said of a container of a recording before this recorder began.
    pub fn said_before(&mut self, uid: &str, container: &str, reasons: Vec<String>) {
        self.past(uid, container).say(reasons);
    }

    /// Whether it cannot be seen what containers do.
    pub fn failing(&mut self, failing: bool) {
        self.failing = failing;
    }

    /// The recorder is about to end: what there is, is written.
    pub fn stop(&mut self) {
        for take in self.takes.values_mut() {
            take.finish(End::Recorder);
        }
    }

    /// Whether something of a recording is still to be written.
    pub fn is_unwritten(&self, key: &RecordingKey) -> bool {
        let uids = self.uids(key);
        let mut takes = self.takes.iter();
        takes.any(|(take, own)| uids.contains(&take.recording) && !self.is_told(take, own))
    }

    /// Whether nothing at all is to be written.
    pub fn is_written(&self) -> bool {
        let mut takes = self.takes.iter();
        takes.all(|(key, take)| self.is_told(key, take))
    }

    fn is_told(&self, key: &TakeKey, take: &Take) -> bool {
        !take.due && !self.writing.contains(key)
    }

    /// Those of this name: one, and those before it of which something is still written.
    fn uids(&self, key: &RecordingKey) -> Vec<String> {
        let own = self.recordings.values().filter(|one| one.key == *key);
        own.map(|one| one.uid.clone()).collect()
    }

    /// Whether pods have ended in which something runs, as far as was told.
    pub fn awaits_ends(&self) -> bool {
        let mut takes = self.takes.values();
        takes.any(|take| take.end.is_some() && !take.running.is_empty())
    }

    /// The profiles of a recording are wanted as they are now, before its containers have ended.
    /// Whether it has recorded anything.
    pub fn snapshot(&mut self, key: &RecordingKey) -> bool {
        let uids = self.uids(key);
        let mut past = self.history.iter();
        let mut any = past.any(|((of, _), past)| uids.contains(of) && past.has_any());
        for (key, take) in &mut self.takes {
            if uids.contains(&key.recording) {
                take.due = true;
                any |= take.runs() > 0;
            }
        }
        any
    }

    /// Whether anything is recorded at all.
    pub fn is_active(&self) -> bool {
        self.recordings.values().any(|one| one.end().is_none())
    }

    /// A pod of the node is there, new or changed.
    pub fn pod(&mut self, pod: Pod) {
        let uid = pod.uid.clone();
        let before = self.pods.remove(&uid);
        if let Some(known) = &before
            && pod.containers.is_empty()
            && !known.pod.containers.is_empty()
        {
            // It is not labelled any more, and so no more is told of it.
            for (_, take) in self.takes.iter_mut().filter(|(key, _)| key.pod == uid) {
                take.finish(End::LabelGone);
            }
        }
        let (mut ids, mut told) = before
            .map(|known| (known.ids, known.told))
            .unwrap_or_default();
        let handed_in = self.before.extract_if(.., |one| one.pod == uid);
        told.extend(handed_in.map(|one| (one.recording, one.container)));
        for container in &pod.containers {
            for id in &container.ids {
                ids.insert(id.clone(), container.name.clone());
                let place = (uid.clone(), container.name.clone());
                self.containers.insert(id.clone(), place);
            }
        }
        let ended = pod.ended;
        let known = Known {
            pod,
            gone: false,
            ids,
            told,
        };
        self.pods.insert(uid.clone(), known);
        self.settle();
        if ended {
            self.finish_pod(&uid);
        }
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, uid: &str) {
        self.miss_pod(uid);
        if let Some(known) = self.pods.get_mut(uid) {
            known.gone = true;
        }
        self.finish_pod(uid);
    }

    /// The workload of a container started.
    pub fn started(&mut self, subject: SubjectId, started: Started) {
        self.keep(subject, started, None);
    }

    /// A task entered a container that was there already.
    pub fn entered(&mut self, subject: SubjectId, entered: Entered) {
        let Entered { started, command } = entered;
        self.keep(subject, started, Some(command));
    }

    fn keep(&mut self, subject: SubjectId, started: Started, command: Option<Command>) {
        let kept = Kept {
            started,
            observed: Observed::default(),
            command,
            ended: false,
        };
        self.subjects.insert(subject, kept);
        self.settle_one(subject);
    }

    /// What a subject did so far: all of it, and not only what is new.
    pub fn observed(&mut self, subject: SubjectId, observed: Observed) {
        if let Some(kept) = self.subjects.get_mut(&subject)
            && !kept.ended
        {
            kept.observed = observed;
            self.settle_one(subject);
        }
    }

    /// A subject has no task any more, and this is all that it did. Its set is released.
    pub fn ended(&mut self, subject: SubjectId, observed: Observed) {
        let Some(kept) = self.subjects.get_mut(&subject) else {
            return;
        };
        if kept.ended {
            return;
        }
        kept.observed = observed;
        kept.ended = true;
        self.steps.push(Step::Release(subject));
        self.settle_one(subject);
        self.bound();
    }

    /// How many sets the kernel keeps of which it is not known yet whose they are.
    pub fn undecided(&self) -> usize {
        let subjects = self.subjects.values();
        let undecided = subjects.filter(|kept| !kept.ended && self.place(kept).is_none());
        undecided.count()
    }

    /// What is to be done, once. `now` is in seconds since 1970. Of each profile,
    /// [`written`](Self::written) or [`again`](Self::again) is to be told.
    pub fn steps(&mut self, now: u64) -> Vec<Step> {
        let mut steps = std::mem::take(&mut self.steps);
        // One after the other: if an earlier one fails, or a later one, the take is still there.
        let due = self.takes.iter();
        let due = due.filter(|(key, take)| take.due && !self.writing.contains(key));
        let due: Vec<_> = due.map(|(key, _)| key.clone()).collect();
        for key in due {
            let output = self.output(&key, now);
            if let Some(take) = self.takes.get_mut(&key) {
                take.due = false;
                take.fresh = false;
            }
            if let Some(output) = output {
                self.writing.insert(key);
                steps.push(Step::Write(Box::new(output)));
            }
        }
        self.forget();
        steps
    }

    /// A profile was written.
    pub fn written(&mut self, output: &Output) {
        self.writing.remove(&output.key());
        self.forget();
    }

    /// A profile cannot be written, and is told no more until there is something new.
    pub fn given_up(&mut self, output: &Output) {
        let reason = format!("{} could not be written", output.profile.metadata.name);
        self.said_before(&output.uid, &output.container, vec![reason]);
        self.written(output);
    }

    /// Whether the API server has a recording no more.
    pub fn is_gone(&self, uid: &str) -> bool {
        self.gone.contains(uid)
    }

    /// A profile could not be written, and is to be told again.
    pub fn again(&mut self, output: &Output) {
        self.writing.remove(&output.key());
        if let Some(take) = self.takes.get_mut(&output.key()) {
            take.due = true;
        }
    }

    /// Brings what is recorded up to date with what is known.
    fn settle(&mut self) {
        let subjects: Vec<_> = self.subjects.keys().copied().collect();
        for subject in subjects {
            self.settle_one(subject);
        }
    }

    fn settle_one(&mut self, subject: SubjectId) {
        let Some(kept) = self.subjects.get(&subject) else {
            return;
        };
        match self.place(kept) {
            Some(place) if self.is_wanted(&place) => self.take_in(subject, &place),
            Some(_) => self.release(subject),
            None if !self.may_be_wanted(kept) => self.release(subject),
            None => {}
        }
    }

    /// The pod and the container of a subject, if they are known.
    fn place(&self, kept: &Kept) -> Option<(String, String)> {
        self.containers
            .get(kept.started.container.as_ref()?)
            .cloned()
    }

    fn known(&self, uid: &str) -> Option<&Known> {
        // The kubelet calls static pods by a hash.
        let by_hash = |known: &&Known| known.pod.static_hash.as_deref() == Some(uid);
        self.pods
            .get(uid)
            .or_else(|| self.pods.values().find(by_hash))
    }

    /// Whether a subject of which the container is not known yet could be somebody's.
    fn may_be_wanted(&self, kept: &Kept) -> bool {
        if kept.started.container.is_none() || !self.is_active() {
            return false;
        }
        match kept.started.pod.as_ref().and_then(|uid| self.known(uid)) {
            // It may be the sandbox, or one of which no status told. Nobody can tell any more.
            Some(known) if known.gone => false,
            Some(known) if known.pod.ended && kept.started.is_sandbox() => false,
            Some(known) => !self.recordings_of(&known.pod).is_empty(),
            None => true,
        }
    }

    /// The recordings of a pod that have not ended.
    fn recordings_of(&self, pod: &Pod) -> Vec<&Recording> {
        let all = self.recordings.values();
        let own = all.filter(|one| {
            let key = &one.key;
            key.namespace == pod.namespace && pod.recordings.contains(&key.name)
        });
        own.filter(|one| one.end().is_none()).collect()
    }

    /// The ids of the recordings of a container.
    fn recordings_at(&self, (uid, container): &(String, String)) -> Vec<String> {
        let pod = self.pods.get(uid).map(|known| &known.pod);
        let found = pod.map(|pod| self.recordings_of(pod)).unwrap_or_default();
        found
            .into_iter()
            .filter(|one| one.containers.is_empty() || one.containers.contains(container))
            .map(|one| one.uid.clone())
            .collect()
    }

    fn is_wanted(&self, place: &(String, String)) -> bool {
        // What was taken in stays until its subject has ended, also if the labels changed since.
        let (uid, container) = place;
        let open = |(key, take): (&TakeKey, &Take)| {
            key.pod == *uid && key.container == *container && take.end.is_none()
        };
        !self.recordings_at(place).is_empty() || self.takes.iter().any(open)
    }

    /// Adds what a subject did to all takes that want it.
    fn take_in(&mut self, subject: SubjectId, place: &(String, String)) {
        let (uid, container) = place;
        for recording in self.recordings_at(place) {
            let key = TakeKey {
                recording,
                pod: uid.clone(),
                container: container.clone(),
            };
            if !self.takes.contains_key(&key) && self.takes.len() >= self.limits.takes {
                let told = (key.recording.clone(), key.container.clone());
                let pod = self.pods.get(&key.pod);
                let is_told = pod.is_some_and(|known| known.told.contains(&told));
                if !is_told && self.refused.len() < self.limits.takes {
                    self.refused.insert(key);
                }
                continue;
            }
            self.refused.remove(&key);
            self.takes.entry(key).or_default();
        }
        let Some(kept) = self.subjects.get(&subject) else {
            return;
        };
        let named = kept.command.as_ref().map(|command| {
            let pod = self.pods.get(uid).map(|known| &known.pod);
            let mut containers = pod.into_iter().flat_map(|pod| &pod.containers);
            let own = containers.find(|one| one.name == *container);
            own.is_some_and(|own| own.commands.iter().any(|argv| command.is(argv)))
        });
        for (key, take) in &mut self.takes {
            let own = key.pod == *uid && key.container == *container;
            if own && !take.is_closed() {
                take.take_in(subject, kept, named, &self.limits, &mut self.dropped);
            }
        }
        if kept.ended {
            self.leave(subject);
        }
    }
}

#[cfg(test)]
mod tests;
