//! What the recorder does, again and again.

mod end;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::tell::Told;
use super::state::State;
use super::{RecorderError, Source};
use crate::cluster::events::Note;
use crate::controller::recorder::{Change, Done, Job, News, Outcome, Sight, said_before};
use crate::recorder::cluster::{Cluster, HandedIn, Limits, Node, Output, RecordingKey, Step};

/// How long changes, and what containers did, are collected.
const SETTLE: Duration = Duration::from_millis(250);
/// How long it takes until something is tried again: the first time, and at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_mins(1);
/// How often a profile is tried again of which the name is taken and of which nothing more is to come: some
/// minutes.
const PERSEVERANCE: u32 = 10;

/// Whose profile: the recording's id, the pod's, and the profile's name.
type Take = (String, String, String);

/// How often in a row a profile could not be written.
#[derive(Default)]
struct Failures {
    all: u32,
    /// Since nothing more is to come: because its name was taken.
    in_vain: u32,
}

/// What is recorded, and what is known of it.
pub(super) struct Recorder<S: Source> {
    node: String,
    cluster: Cluster,
    sight: Sight,
    settings: S::Settings,
    source: Option<S>,
    recordings: BTreeMap<RecordingKey, Told>,
    jobs: UnboundedSender<Job>,
    /// Profiles that could not be written, and when each is tried again.
    failed: Vec<(Instant, Box<Output>)>,
    /// Of each, how often in a row.
    failures: BTreeMap<Take, Failures>,
    /// Why it cannot be seen what containers do, if that is so.
    cannot: Option<String>,
    state: Arc<State>,
    /// When to look at what containers did, if that is due.
    look: Option<Instant>,
    /// When to look for what ended, and how long to wait after that.
    sweep: Option<(Instant, Duration)>,
    /// When to try to start the source again, and how long to wait after that.
    start: Option<(Instant, Duration)>,
}

impl<S: Source> Recorder<S> {
    /// One that knows nothing yet.
    pub(super) fn new(
        node: Node,
        settings: S::Settings,
        sight: Sight,
        jobs: UnboundedSender<Job>,
        state: Arc<State>,
    ) -> Self {
        Self {
            node: node.name.clone(),
            cluster: Cluster::new(node, Limits::default()),
            sight,
            settings,
            source: None,
            recordings: BTreeMap::new(),
            jobs,
            failed: Vec::new(),
            failures: BTreeMap::new(),
            cannot: None,
            state,
            look: None,
            sweep: None,
            start: None,
        }
    }

    /// What earlier recorders had handed in.
    pub(super) fn handed_in(&mut self, before: BTreeSet<HandedIn>) {
        self.cluster.handed_in(before);
    }

    /// Works until `stop`, and hands in what there is, also if it cannot go on.
    pub(super) async fn work(
        mut self,
        mut changes: UnboundedReceiver<Change>,
        mut dones: UnboundedReceiver<Done>,
        stop: &CancellationToken,
    ) -> Result<(), RecorderError> {
        tokio::select! {
            () = self.sight.complete() => {}
            () = stop.cancelled() => return Ok(()),
        }
        let mut news = Vec::new();
        let worked = self.until(stop, &mut news, &mut changes, &mut dones).await;
        while let Ok(change) = changes.try_recv() {
            news.push(change);
        }
        let ended = self.end(&news, dones).await;
        worked.and(ended)
    }

    /// Works until `stop`. What has changed and was not looked at is in `news` then.
    async fn until(
        &mut self,
        stop: &CancellationToken,
        news: &mut Vec<Change>,
        changes: &mut UnboundedReceiver<Change>,
        dones: &mut UnboundedReceiver<Done>,
    ) -> Result<(), RecorderError> {
        let mut settled: Option<Instant> = None;
        loop {
            let settle = settled.is_some_and(|at| at <= Instant::now());
            if settle {
                settled = None;
                self.turn(&std::mem::take(news)).await?;
            }
            let wake = [
                settled,
                self.look,
                self.sweep.map(|(at, _)| at),
                self.start.map(|(at, _)| at),
                self.failed.iter().map(|(at, _)| *at).min(),
                self.next_status(),
            ];
            let wake = wake.into_iter().flatten().min();
            let sleep = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            let is_idle = self.look.is_none();
            let ready = async {
                match &self.source {
                    Some(source) if is_idle => source.ready().await,
                    _ => pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(change) = changes.recv() => {
                    news.push(change);
                    settled.get_or_insert_with(|| Instant::now() + SETTLE);
                }
                Some(done) = dones.recv() => self.done(done),
                ready = ready => {
                    ready.map_err(RecorderError::Wait)?;
                    self.look = Some(Instant::now() + SETTLE);
                }
                () = sleep => {
                    if settled.is_none_or(|at| at > Instant::now()) {
                        self.turn(&[]).await?;
                    }
                }
            }
        }
    }

    /// Looks at all that may have changed, and does what follows.
    async fn turn(&mut self, changes: &[Change]) -> Result<(), RecorderError> {
        let now = Instant::now();
        let news = self.sight.take(changes);
        let mut sweep = news.iter().any(News::is_of_recorded_pod);
        if let Some((at, wait)) = self.sweep
            && at <= now
        {
            sweep = true;
            self.sweep = Some((now + wait, (wait * 2).min(AGAIN_MOST)));
        }
        if let Some(source) = &mut self.source {
            for news in &news {
                source.news(news);
            }
            sweep |= news.iter().any(News::ends_a_recording);
            // Whoever begins is to hear at once if nothing can be seen.
            let known = &self.recordings;
            sweep |= news.iter().any(|news| match news {
                News::Recording(recording, ..) => !known.contains_key(&recording.key),
                _ => false,
            });
        }
        // What was seen until now is from before the news.
        let looked = self.look(sweep).await;
        for news in news {
            self.take(news);
        }
        looked?;
        if let Some(source) = &self.source {
            let trouble = source.trouble();
            self.fails(trouble);
        }
        self.wishes();
        self.retry(now);
        self.steps();
        self.start(now).await;
        self.tell(now);
        let awaits = self.cluster.awaits_ends() || self.source.as_ref().is_some_and(S::is_due);
        self.sweep = match self.sweep {
            _ if !awaits => None,
            Some(known) => Some(known),
            None => Some((now + AGAIN, AGAIN)),
        };
        let undecided = u64::try_from(self.cluster.undecided()).unwrap_or(u64::MAX);
        self.state.undecided.store(undecided, Ordering::Relaxed);
        Ok(())
    }

    /// Tells the machine what containers did.
    async fn look(&mut self, sweep: bool) -> Result<(), RecorderError> {
        self.look = None;
        if let Some(source) = self.source.take() {
            let looked = source.look(&mut self.cluster, sweep).await;
            self.source = Some(looked.map_err(RecorderError::Source)?);
        }
        Ok(())
    }

    fn take(&mut self, news: News) {
        match news {
            News::Recording(recording, says, wish) => {
                let uid = recording.uid.clone();
                let is_new = !self.recordings.contains_key(&recording.key);
                let before = says.clone().filter(|_| is_new);
                let told = self.recordings.entry(recording.key.clone());
                let told = told.or_insert_with(|| Told::new(&recording, says.as_ref()));
                told.now(&recording, says, wish);
                self.cluster.recording(recording);
                for (container, reasons) in before.iter().flat_map(said_before) {
                    self.cluster.said_before(&uid, container, reasons);
                }
            }
            News::RecordingGone(key) => {
                self.recordings.remove(&key);
                self.cluster.recording_gone(&key);
            }
            News::Pod(pod, _) => self.cluster.pod(pod),
            News::PodGone(uid) => self.cluster.pod_gone(&uid),
        }
    }

    /// Takes up wishes, as soon as there is something to take.
    fn wishes(&mut self) {
        for (key, told) in &mut self.recordings {
            let is_new = told.wish.is_some() && told.wish != told.taken;
            if is_new && self.cluster.snapshot(key) {
                told.taken.clone_from(&told.wish);
            }
        }
    }

    fn steps(&mut self) {
        for step in self.cluster.steps(seconds()) {
            match step {
                Step::Release(subject) => {
                    if let Some(source) = &mut self.source {
                        source.release(subject);
                    }
                }
                Step::Write(output) => self.job(Job::Profile(output)),
            }
        }
    }

    fn job(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::warn!("nobody writes what was recorded any more");
        }
    }

    /// Has the source while there is a recording, and only then.
    async fn start(&mut self, now: Instant) {
        let [begins, ends, fails] = S::SAYS;
        if !self.cluster.is_active() {
            if self.source.take().is_some() {
                tracing::info!("nothing is to be recorded: {ends}");
            }
            self.start = None;
            self.state.attached.store(false, Ordering::Relaxed);
            self.fails(None);
            return;
        }
        if self.source.is_some() || self.start.is_some_and(|(at, _)| at > now) {
            return;
        }
        let wait = self.start.map_or(AGAIN, |(_, wait)| wait);
        match S::start(self.settings.clone()).await {
            Ok(mut source) => {
                self.sight.pods().for_each(|pod| source.news(&pod));
                self.source = Some(source);
                self.start = None;
                self.state.attached.store(true, Ordering::Relaxed);
                self.fails(None);
                tracing::info!("{begins}");
            }
            Err(error) => {
                let error = chain(&*error);
                tracing::error!(error, "{fails}: nothing is recorded here");
                self.start = Some((now + wait, (wait * 2).min(AGAIN_MOST)));
                self.fails(Some(error));
            }
        }
    }

    fn done(&mut self, done: Done) {
        let Done { job, outcome } = done;
        match job {
            Job::Profile(output) => {
                let name = output.profile.metadata.name.clone();
                let take = (output.uid.clone(), output.pod.clone(), name);
                let is_over = outcome == Outcome::Taken && self.is_in_vain(&take, &output);
                match outcome {
                    Outcome::Written => {
                        self.failures.remove(&take);
                        self.cluster.written(&output);
                        self.look.get_or_insert_with(|| Instant::now() + SETTLE);
                    }
                    Outcome::Taken if is_over => {
                        self.failures.remove(&take);
                        self.give_up(&output);
                    }
                    Outcome::Failed | Outcome::Taken => {
                        let wait = pause(&mut self.failures.entry(take).or_default().all);
                        self.failed.push((Instant::now() + wait, output));
                    }
                }
            }
            Job::Status(key, ..) => self.told(&key, outcome == Outcome::Written),
            Job::Tell(..) => {}
        }
    }

    /// Whether a profile of which the name is taken was tried often enough.
    fn is_in_vain(&mut self, take: &Take, output: &Output) -> bool {
        if self.cluster.is_gone(&output.uid) {
            return true;
        }
        let Failures { in_vain, .. } = self.failures.entry(take.clone()).or_default();
        *in_vain = if output.last { *in_vain + 1 } else { 0 };
        *in_vain > PERSEVERANCE
    }

    /// Somebody else's profile is in the way, and nobody has taken it away.
    fn give_up(&mut self, output: &Output) {
        self.cluster.given_up(output);
        let profile = &output.profile.metadata.name;
        tracing::warn!(profile, "gives up what was recorded: its name is taken");
        let note = Note {
            warning: true,
            reason: "ProfileGivenUp".to_owned(),
            message: format!(
                "what was recorded of a pod is lost: {profile} is taken, and nobody has deleted what is there"
            ),
        };
        let (recording, uid) = (output.recording.clone(), output.uid.clone());
        self.job(Job::Tell(recording, uid, note));
    }

    fn retry(&mut self, now: Instant) {
        let failed = std::mem::take(&mut self.failed).into_iter();
        let (due, later) = failed.partition(|(at, _)| *at <= now);
        self.failed = later;
        let due: Vec<_> = due;
        for (_, output) in due {
            self.cluster.again(&output);
        }
    }
}

/// How long to wait after one more failure.
fn pause(failures: &mut u32) -> Duration {
    let wait = AGAIN_MOST.min(AGAIN * 2_u32.pow((*failures).min(6)));
    *failures += 1;
    wait
}

/// Now, in seconds since 1970.
fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
