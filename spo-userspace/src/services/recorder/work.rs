//! What the recorder does, again and again.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::state::State;
use super::{RecorderError, Source};
use crate::api::profile_recording::RecordingNode;
use crate::cluster::events::Note;
use crate::controller::recorder::{Change, Done, Job, News, Sight, last_status, node_status};
use crate::recorder::cluster::{Cluster, Limits, Node, RecordingKey, Step};

/// How long changes, and what containers did, are collected.
const SETTLE: Duration = Duration::from_millis(250);
/// How often a recording is told how far it is.
const STATUS: Duration = Duration::from_secs(5);
/// How long it takes until something is tried again: the first time, and at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_mins(1);

/// A recording, and what it says of this node.
struct Told {
    uid: String,
    deleting: bool,
    finished: bool,
    /// The wish for its profiles as they are now, and the one that was taken up last.
    wish: Option<String>,
    taken: Option<String>,
    /// What it says, or what it was last told to say.
    says: Option<RecordingNode>,
    /// When it may be told again.
    next: Instant,
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
    /// What could not be written, and when it is tried again.
    failed: VecDeque<(Instant, Job)>,
    /// How often in a row.
    failures: u32,
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
            failed: VecDeque::new(),
            failures: 0,
            state,
            look: None,
            sweep: None,
            start: None,
        }
    }

    /// Works until `stop`, and hands in what there is.
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
        let mut settled: Option<Instant> = None;
        loop {
            let settle = settled.is_some_and(|at| at <= Instant::now());
            if settle {
                settled = None;
                self.turn(std::mem::take(&mut news)).await?;
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
                () = stop.cancelled() => break,
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
                        self.turn(Vec::new()).await?;
                    }
                }
            }
        }
        self.end().await
    }

    /// Looks at all that may have changed, and does what follows.
    async fn turn(&mut self, changes: Vec<Change>) -> Result<(), RecorderError> {
        let now = Instant::now();
        let news = self.sight.take(&changes);
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
        }
        // What was seen until now is from before the news.
        self.look(sweep).await?;
        for news in news {
            self.take(news);
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
                let told = self
                    .recordings
                    .entry(recording.key.clone())
                    .or_insert_with(|| Told {
                        uid: recording.uid.clone(),
                        deleting: false,
                        finished: false,
                        wish: None,
                        taken: says.as_ref().and_then(|says| says.taken.clone()),
                        says: None,
                        next: Instant::now(),
                    });
                told.uid.clone_from(&recording.uid);
                told.deleting = recording.deleting;
                told.finished = recording.finished.is_some();
                told.says = says;
                told.wish = wish;
                self.cluster.recording(recording);
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
            self.state.failing.store(false, Ordering::Relaxed);
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
                self.state.failing.store(false, Ordering::Relaxed);
                tracing::info!("{begins}");
            }
            Err(error) => {
                let error = chain(&*error);
                tracing::error!(error, "{fails}: nothing is recorded here");
                self.start = Some((now + wait, (wait * 2).min(AGAIN_MOST)));
                if !self.state.failing.swap(true, Ordering::Relaxed) {
                    self.tell_all("CannotRecord", &format!("node {}: {error}", self.node));
                }
            }
        }
    }

    fn tell_all(&self, reason: &str, message: &str) {
        let open = self.recordings.iter();
        for (key, told) in open.filter(|(_, told)| !told.deleting && !told.finished) {
            let note = Note {
                warning: true,
                reason: reason.to_owned(),
                message: message.to_owned(),
            };
            self.job(Job::Tell(key.clone(), told.uid.clone(), note));
        }
    }

    /// Tells each recording how far it is on this node; one that ends, when all is written.
    fn tell(&mut self, now: Instant) {
        let mut wanted: BTreeMap<_, _> = self
            .cluster
            .status()
            .into_iter()
            .map(|status| (status.recording.clone(), status))
            .collect();
        for (key, told) in &mut self.recordings {
            let status = wanted.remove(key);
            let is_last = told.deleting || told.finished;
            if is_last && self.cluster.is_unwritten(key) {
                continue;
            }
            let mut says = status.and_then(|status| node_status(&self.node, status));
            if let Some(says) = &mut says {
                // It is answered when the last profile is written.
                let before = told.says.as_ref().and_then(|says| says.taken.clone());
                let is_written = !self.cluster.is_unwritten(key);
                says.taken = told.taken.clone().filter(|_| is_written).or(before);
            }
            if told.finished && !told.deleting {
                says = last_status(says, told.says.as_ref());
            }
            if told.says == says || (told.next > now && !is_last) {
                continue;
            }
            told.next = now + STATUS;
            told.says.clone_from(&says);
            let job = Job::Status(key.clone(), says.map(Box::new));
            drop(self.jobs.send(job));
        }
    }

    /// When a recording is to be told something that it was not told because it is too early.
    fn next_status(&self) -> Option<Instant> {
        let now = Instant::now();
        let next = self.recordings.values().map(|told| told.next);
        next.filter(|next| *next > now).min()
    }

    fn done(&mut self, done: Done) {
        let Done { job, done } = done;
        if done {
            self.failures = 0;
            if let Job::Profile(output) = job {
                self.cluster.written(&output);
                self.look.get_or_insert_with(|| Instant::now() + SETTLE);
            }
            return;
        }
        let wait = AGAIN_MOST.min(AGAIN * 2_u32.pow(self.failures.min(6)));
        self.failures += 1;
        if !matches!(job, Job::Tell(..)) {
            self.failed.push_back((Instant::now() + wait, job));
        }
    }

    fn retry(&mut self, now: Instant) {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.failed)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.failed = later.into();
        for (_, job) in due {
            match job {
                Job::Profile(output) => self.cluster.again(&output),
                Job::Status(key, said) => {
                    if let Some(told) = self.recordings.get_mut(&key)
                        && told.says.as_ref() == said.as_deref()
                    {
                        self.job(Job::Status(key, said));
                    }
                }
                Job::Tell(..) => {}
            }
        }
    }

    /// Hands in what there is.
    async fn end(mut self) -> Result<(), RecorderError> {
        self.look(true).await?;
        for (_, job) in std::mem::take(&mut self.failed) {
            if let Job::Profile(output) = job {
                self.cluster.again(&output);
            }
        }
        self.cluster.stop();
        self.steps();
        for (key, told) in &self.recordings {
            if told.says.as_ref().is_some_and(|says| !says.finished) {
                self.job(Job::Status(key.clone(), None));
            }
        }
        Ok(())
    }
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
