//! What ends, and what is forgotten then.
//!
//! A take may go when it is written and nothing more comes to it: it is [closed](Take::is_closed), or
//! it has ended and nothing of it runs, and nothing of its pod waits that could still be its own.

use std::collections::{BTreeMap, BTreeSet};

use super::status::{Absent, History, reasons_of};
use super::take::{End, Take, TakeKey};
use super::{Cluster, Step};
use crate::event::SubjectId;

/// For containers of names for which there is no room.
const OTHERS: &str = "(others)";

impl Cluster {
    /// Nobody wants what a subject does.
    pub(super) fn release(&mut self, subject: SubjectId) {
        if self.subjects.get(&subject).is_some_and(|kept| !kept.ended) {
            self.steps.push(Step::Release(subject));
        }
        self.leave(subject);
    }

    /// Nothing more comes of a subject, to whatever take: its pod may have got another id since.
    pub(super) fn leave(&mut self, subject: SubjectId) {
        self.subjects.remove(&subject);
        for take in self.takes.values_mut() {
            take.left(subject);
        }
    }

    /// Ends the takes of a recording.
    pub(super) fn finish(&mut self, uid: &str, end: End) {
        if let Some(recording) = self.recordings.get(uid).filter(|one| !one.has_ended()) {
            let pods = self.pods.values();
            let absent = pods.flat_map(|known| self.absent(recording, known));
            self.miss(absent.collect());
        }
        for (key, take) in &mut self.takes {
            if key.recording == uid {
                take.finish(end);
            }
        }
    }

    /// A pod is about to be gone: what of it ran and was not recorded is said now. What was running when the
    /// recording was made counts as long as it does.
    pub(super) fn miss_pod(&mut self, uid: &str) {
        if let Some(known) = self.pods.get(uid) {
            let open = self.recordings.values().filter(|one| !one.has_ended());
            let absent = open.flat_map(|recording| self.absent(recording, known));
            self.miss(absent.filter(|one| !one.was_before).collect());
        }
    }

    /// Keeps why containers are in no take, for when nobody can tell any more.
    fn miss(&mut self, absent: Vec<Absent>) {
        for Absent { key, reason, .. } in absent {
            let is_refused = self.refused.remove(&key);
            if let Some(known) = self.pods.get_mut(&key.pod) {
                let told = (key.recording.clone(), key.container.clone());
                known.told.insert(told);
            }
            self.past(&key.recording, &key.container)
                .miss(reason, is_refused);
        }
    }

    /// What came of a container of a recording. Names that are too many have one together.
    pub(super) fn past(&mut self, recording: &str, container: &str) -> &mut History {
        let of = |container: &str| (recording.to_owned(), container.to_owned());
        let known = self.history.range(of("")..);
        let known = known.take_while(|((uid, _), _)| uid == recording).count();
        let mut key = of(container);
        if known >= self.limits.names && !self.history.contains_key(&key) {
            key = of(OTHERS);
        }
        self.history.entry(key).or_default()
    }

    /// Ends the takes of a pod. Subjects of it that are nobody's, and are not the sandbox, may have
    /// been restarts of which no status told.
    pub(super) fn finish_pod(&mut self, uid: &str) {
        let Some(known) = self.known(uid) else {
            return;
        };
        let own = [Some(uid), known.pod.static_hash.as_deref()];
        let strange = self.subjects.values().filter(|kept| {
            let of_pod = own.contains(&kept.started.pod.as_deref());
            of_pod && self.place(kept).is_none() && !kept.started.is_sandbox()
        });
        let strange = u32::try_from(strange.count()).unwrap_or(u32::MAX);
        for (key, take) in &mut self.takes {
            if key.pod == uid {
                take.strange = take.strange.max(strange);
                take.finish(End::Pod);
            }
        }
        self.settle();
    }

    /// Keeps what waits for its pod within bounds; the oldest go.
    pub(super) fn bound(&mut self) {
        let waiting = self.subjects.iter().filter(|(_, kept)| kept.ended);
        let mut waiting: Vec<_> = waiting
            .map(|(subject, kept)| (kept.started.at, *subject))
            .collect();
        waiting.sort_unstable();
        let surplus = waiting.len().saturating_sub(self.limits.waiting);
        for (_, subject) in waiting.into_iter().take(surplus) {
            self.subjects.remove(&subject);
            self.dropped.waiting += 1;
        }
    }

    /// Forgets what is done with.
    pub(super) fn forget(&mut self) {
        let busy: BTreeSet<_> = self
            .subjects
            .values()
            .filter_map(|kept| Some(self.place(kept)?.0))
            .collect();
        let takes = std::mem::take(&mut self.takes);
        let done = |key: &TakeKey, take: &Take| {
            let is_over = take.end.is_some() && take.running.is_empty() && !busy.contains(&key.pod);
            self.is_told(key, take) && (take.is_closed() || is_over)
        };
        let (done, open): (BTreeMap<_, _>, BTreeMap<_, _>) =
            takes.into_iter().partition(|(key, take)| done(key, take));
        self.takes = open;
        for (key, take) in done {
            let reasons = self.pods.get_mut(&key.pod).map(|known| {
                // Where the label comes back, what runs on is not in it.
                if take.end != Some(End::LabelGone) || known.pod.ended {
                    let told = (key.recording.clone(), key.container.clone());
                    known.told.insert(told);
                }
                reasons_of(&key, &take, known, self.node.recorder)
            });
            self.past(&key.recording, &key.container)
                .add(&take, reasons.unwrap_or_default());
        }
        let used: BTreeSet<_> = self.takes.keys().map(|key| key.pod.clone()).collect();
        self.pods
            .retain(|uid, known| !known.gone || used.contains(uid) || busy.contains(uid));
        let pods = &self.pods;
        self.containers.retain(|_, (uid, _)| pods.contains_key(uid));
        let used: BTreeSet<_> = self.takes.keys().map(|key| &key.recording).collect();
        let gone = &self.gone;
        self.recordings
            .retain(|uid, _| !gone.contains(uid) || used.contains(uid));
        let recordings = &self.recordings;
        self.gone.retain(|uid| recordings.contains_key(uid));
        self.history
            .retain(|(uid, _), _| recordings.contains_key(uid));
        for known in self.pods.values_mut() {
            known.told.retain(|(uid, _)| recordings.contains_key(uid));
        }
        let pods = &self.pods;
        self.refused
            .retain(|key| pods.contains_key(&key.pod) && recordings.contains_key(&key.recording));
    }
}
