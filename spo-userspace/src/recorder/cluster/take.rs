//! What one recording has of one container of one pod.

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Dropped, Kept, Limits, Observed, RecordingKey};
use crate::event::{Call, Losses, SubjectId};

/// Which take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TakeKey {
    pub(super) recording: RecordingKey,
    /// The pod's id.
    pub(super) pod: String,
    pub(super) container: String,
}

/// Why nothing more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The recording was deleted.
    RecordingDeleted,
    /// A rule ended the recording.
    RecordingFinished,
    /// The pod ended, or was deleted.
    Pod,
    /// The recorder ended before the container did.
    Recorder,
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Take {
    pub(super) calls: BTreeSet<Call>,
    pub(super) unnamed: BTreeMap<Call, u64>,
    /// The containers that are in it, each once. After a restart it is another one.
    seen: BTreeSet<String>,
    /// What is not ended yet.
    pub(super) running: BTreeSet<SubjectId>,
    /// Of each subject, what it passed of numbers without a name: it is told as a sum each time.
    passed: BTreeMap<SubjectId, Vec<(Call, u64)>>,
    pub(super) began: Option<u64>,
    pub(super) until: u64,
    pub(super) last_new: Option<u64>,
    pub(super) filtered: bool,
    pub(super) with_setup: bool,
    /// Those of them that ran before anybody looked.
    late: BTreeSet<String>,
    /// What was lost before the first of its subjects, and up to now.
    lost_before: Option<Losses>,
    lost_until: Losses,
    /// What entered the container, is not named in its pod, and so did not join.
    pub(super) strangers: BTreeSet<Command>,
    /// Those for which there was no room.
    pub(super) more_strangers: u64,
    /// Containers of the pod of which nobody can tell which ones they were.
    pub(super) strange: u32,
    pub(super) end: Option<End>,
    /// Whether its profile is to be written.
    pub(super) due: bool,
}

impl Take {
    /// Takes in what a subject did so far. `named` says of what entered the container whether the
    /// pod's specification names its command.
    pub(super) fn take_in(
        &mut self,
        subject: SubjectId,
        kept: &Kept,
        named: Option<bool>,
        limits: &Limits,
        dropped: &mut Dropped,
    ) {
        if let (Some(false), Some(command)) = (named, &kept.command) {
            if self.strangers.contains(command) {
                return;
            }
            if self.strangers.len() < limits.commands {
                self.strangers.insert(command.clone());
                self.due |= self.end.is_some();
            } else if kept.ended {
                self.more_strangers += 1;
                dropped.commands += 1;
            }
            return;
        }
        let Observed {
            calls,
            unnamed,
            filtered,
            with_setup,
            late,
            at,
            last_new,
            losses,
        } = &kept.observed;
        let before = (
            self.calls.len(),
            self.filtered,
            self.with_setup,
            self.late.len(),
            self.losses(),
        );
        self.calls.extend(calls);
        self.filtered |= filtered;
        self.with_setup |= with_setup;
        if let Some(id) = kept.started.container.as_ref().filter(|_| *late) {
            self.late.insert(id.clone());
        }
        let began = kept.started.at;
        self.began = Some(self.began.map_or(began, |known| known.min(began)));
        self.until = self.until.max(*at);
        self.last_new = self.last_new.max(*last_new);
        let started = kept.started.losses;
        let before_it = self
            .lost_before
            .map_or(started, |known| known.least(&started));
        self.lost_before = Some(before_it);
        self.lost_until = self.lost_until.most(losses);
        self.count(subject, unnamed);
        if named.is_none()
            && let Some(id) = &kept.started.container
        {
            self.seen.insert(id.clone());
        }
        let after = (
            self.calls.len(),
            self.filtered,
            self.with_setup,
            self.late.len(),
            self.losses(),
        );
        if kept.ended {
            self.running.remove(&subject);
            self.passed.remove(&subject);
            self.due = true;
        } else {
            self.running.insert(subject);
            // What came after the end that was told.
            self.due |= self.end.is_some() && before != after;
        }
    }

    fn count(&mut self, subject: SubjectId, unnamed: &[(Call, u64)]) {
        let known = self.passed.entry(subject).or_default();
        for (call, times) in unnamed {
            let before = known.iter().find(|(known, _)| known == call);
            let before = before.map_or(0, |(_, times)| *times);
            *self.unnamed.entry(*call).or_default() += times.saturating_sub(before);
        }
        unnamed.clone_into(known);
    }

    /// Whether it takes in nothing more, not even what came before its end.
    pub(super) fn is_closed(&self) -> bool {
        let closing = [End::RecordingDeleted, End::RecordingFinished];
        self.end.is_some_and(|end| closing.contains(&end))
    }

    /// Nothing more is to come.
    pub(super) fn finish(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            self.due = true;
        }
    }

    /// What was lost from the start of the first of its subjects on.
    pub(super) fn losses(&self) -> Losses {
        self.lost_until.since(&self.lost_before.unwrap_or_default())
    }

    /// How many containers are in it.
    pub(super) fn runs(&self) -> usize {
        self.seen.len()
    }

    /// Of how many of these containers the beginning is not in it, or nothing at all: they ran
    /// before anybody looked.
    pub(super) fn missed<'i>(&self, ids: impl Iterator<Item = &'i String>) -> usize {
        ids.filter(|id| !self.seen.contains(*id) || self.late.contains(*id))
            .count()
    }
}
