//! What recordings are told of this node.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::super::Source;
use super::{Recorder, SETTLE, pause};
use crate::api::profile_recording::{RecordingNode, pace};
use crate::cluster::events::Note;
use crate::controller::recorder::{Job, is_incomplete, last_status, node_status};
use crate::recorder::cluster::{Recording, RecordingKey};

/// A recording, and what it says of this node.
pub(super) struct Told {
    recording: Recording,
    /// The wish for its profiles as they are now, and the one that was taken up last.
    pub(super) wish: Option<String>,
    pub(super) taken: Option<String>,
    /// What it says, or what it was last told to say.
    says: Option<RecordingNode>,
    /// Whether it is being told, so that no more than one such job waits for the API server.
    telling: bool,
    /// How often in a row that failed.
    failures: u32,
    /// When it may be told again.
    next: Instant,
    /// Whether it was told that nothing can be recorded.
    warned: bool,
}

impl Told {
    /// One of which nothing is known but what it says.
    pub(super) fn new(recording: &Recording, says: Option<&RecordingNode>) -> Self {
        Self {
            recording: recording.clone(),
            wish: None,
            taken: says.and_then(|says| says.taken.clone()),
            says: None,
            telling: false,
            failures: 0,
            next: Instant::now(),
            warned: false,
        }
    }

    /// What it is now.
    pub(super) fn now(
        &mut self,
        recording: &Recording,
        says: Option<RecordingNode>,
        wish: Option<String>,
    ) {
        self.recording.clone_from(recording);
        self.says = says;
        self.wish = wish;
    }

    /// Has it say this.
    fn say(&mut self, says: Option<RecordingNode>) -> Job {
        self.says.clone_from(&says);
        self.telling = true;
        let Recording { key, uid, .. } = &self.recording;
        Job::Status(key.clone(), uid.clone(), says.map(Box::new))
    }

    fn is_last(&self) -> bool {
        self.recording.deleting || self.recording.finished.is_some()
    }
}

impl<S: Source> Recorder<S> {
    /// Tells each recording how far it is on this node; one that ends, when all is written.
    pub(super) fn tell(&mut self, now: Instant) {
        let mut now_there = self.now_there();
        for (key, told) in &mut self.recordings {
            let is_last = told.is_last();
            if told.telling || (is_last && self.cluster.is_unwritten(key)) {
                continue;
            }
            let mut says = now_there.remove(key);
            if let Some(says) = &mut says {
                // It is answered when the last profile is written.
                let before = told.says.as_ref().and_then(|says| says.taken.clone());
                let is_written = !self.cluster.is_unwritten(key);
                says.taken = told.taken.clone().filter(|_| is_written).or(before);
            }
            if is_last {
                says = last_status(says, told.says.as_ref());
            }
            let is_said = told.says == says && told.failures == 0;
            let is_early = told.next > now && (!is_last || told.failures > 0);
            if is_said || is_early {
                continue;
            }
            drop(self.jobs.send(told.say(says)));
        }
        if let Some(error) = &self.cannot {
            let message = format!("node {}: {error}", self.node);
            for (key, told) in &mut self.recordings {
                if !told.recording.has_ended() && !std::mem::replace(&mut told.warned, true) {
                    let note = Note {
                        warning: true,
                        reason: "CannotRecord".to_owned(),
                        message: message.clone(),
                    };
                    let job = Job::Tell(key.clone(), told.recording.uid.clone(), note);
                    drop(self.jobs.send(job));
                }
            }
        }
    }

    /// A recording was told, or could not be.
    pub(super) fn told(&mut self, key: &RecordingKey, done: bool) {
        if let Some(told) = self.recordings.get_mut(key) {
            told.telling = false;
            let wait = match done {
                true if told.is_last() => SETTLE,
                true => pace(self.sight.nodes_of(key)),
                false => pause(&mut told.failures),
            };
            if done {
                told.failures = 0;
            }
            told.next = Instant::now() + wait;
        }
    }

    /// Why it cannot be seen what containers do, or that it can. Each recording is told once.
    pub(super) fn fails(&mut self, cannot: Option<String>) {
        let fails = cannot.is_some();
        if !fails {
            for told in self.recordings.values_mut() {
                told.warned = false;
            }
        }
        self.cannot = cannot;
        self.cluster.failing(fails);
        self.state.failing.store(fails, Ordering::Relaxed);
    }

    /// What recordings say of this node at the end, of those of which all is written: nothing, but for why
    /// what it recorded is not complete.
    pub(super) fn withdraw(&mut self, now: Instant) {
        let mut now_there = self.now_there();
        for (key, told) in &mut self.recordings {
            let is_early = told.failures > 0 && told.next > now;
            if told.telling || is_early || self.cluster.is_unwritten(key) {
                continue;
            }
            let says = last_status(now_there.remove(key), told.says.as_ref());
            let says = says.filter(|says| told.is_last() || is_incomplete(says));
            if told.says == says && told.failures == 0 {
                continue;
            }
            drop(self.jobs.send(told.say(says)));
        }
    }

    /// What there is to be said of each recording.
    fn now_there(&self) -> BTreeMap<RecordingKey, RecordingNode> {
        let statuses = self.cluster.status().into_iter();
        statuses
            .filter_map(|status| {
                let key = status.recording.clone();
                Some((key, node_status(&self.node, status)?))
            })
            .collect()
    }

    /// Whether a recording is being told something, or is to be told it again.
    pub(super) fn is_telling(&self) -> bool {
        let mut told = self.recordings.values();
        told.any(|told| told.telling || told.failures > 0)
    }

    /// When a recording is to be told something that it was not told because it is too early.
    pub(super) fn next_status(&self) -> Option<Instant> {
        let now = Instant::now();
        let next = self.recordings.values().map(|told| told.next);
        next.filter(|next| *next > now).min()
    }
}
