//! What one recording has of one container of one pod.

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Dropped, Kept, Limits, Observed};
use crate::event::{Call, Losses, SubjectId};
use crate::recorder::capabilities::Capabilities;

/// Which take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TakeKey {
    /// The recording's id.
    pub(super) recording: String,
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
    /// The label of its namespace was taken away.
    LabelGone,
    /// The pod ended, or was deleted.
    Pod,
    /// The recorder ended before the container did.
    Recorder,
}

impl End {
    /// Whether nothing more is taken in then, not even what came before.
    fn closes(self) -> bool {
        match self {
            Self::RecordingDeleted | Self::RecordingFinished | Self::LabelGone => true,
            Self::Pod | Self::Recorder => false,
        }
    }
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Take {
    pub(super) calls: BTreeSet<Call>,
    pub(super) unnamed: BTreeMap<Call, u64>,
    pub(super) capabilities: Capabilities,
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
    /// Whether there is something that no profile has.
    pub(super) fresh: bool,
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
            capabilities,
            checks,
            filtered,
            late,
            at,
            last_new,
            losses,
        } = &kept.observed;
        let before = (
            self.calls.len(),
            self.capabilities.clone(),
            self.filtered,
            self.late.len(),
            self.losses(),
        );
        self.calls.extend(calls);
        if let Some(checks) = checks {
            self.capabilities.add(*capabilities, checks);
        }
        self.filtered |= filtered;
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
            self.capabilities.clone(),
            self.filtered,
            self.late.len(),
            self.losses(),
        );
        let is_new = before != after;
        self.fresh |= is_new;
        if kept.ended {
            self.left(subject);
            self.passed.remove(&subject);
            // Of a probe, only what it did that nothing had done before.
            self.due |= named.is_none() || self.fresh;
        } else {
            self.running.insert(subject);
            // What came after the end that was told.
            self.due |= self.end.is_some() && is_new;
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

    /// Nothing more comes of a subject. Of the last one after the end, that is told.
    pub(super) fn left(&mut self, subject: SubjectId) {
        if self.running.remove(&subject) {
            self.passed.remove(&subject);
            self.due |= self.end.is_some();
        }
    }

    /// Whether it takes in nothing more, not even what came before its end. Nothing runs for it then.
    pub(super) fn is_closed(&self) -> bool {
        self.end.is_some_and(End::closes)
    }

    /// Nothing more is to come.
    pub(super) fn finish(&mut self, end: End) {
        // One that runs on without its pod is left alone when the recorder ends.
        let is_left = end == End::Recorder && !self.running.is_empty();
        if self.end.is_none() || ((end.closes() || is_left) && !self.is_closed()) {
            self.due |= self.end.is_none() || !self.running.is_empty();
            self.end = Some(end);
        }
        if self.is_closed() {
            self.running.clear();
            self.passed.clear();
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
