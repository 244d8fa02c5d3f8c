//! The recorder of a node that sees by audit records what containers do: of those calls that seccomp
//! filters have the kernel log.
//!
//! One thread reads the records and looks at once whose each is, because processes end. The recorder
//! looks at what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::recorder::{Failure, Source, number, run as record};
pub use super::recorder::{Options, RecorderError};
use crate::api::profile_recording::Recorder;
use crate::controller::recorder::{Life, News};
use crate::enrich::audit::Kernel;
use crate::event::{Audited, SubjectId};
use crate::node::process;
use crate::profile::arch::Arch;
use crate::recorder::Logs;
use crate::recorder::cluster::{Cluster, Started};
use crate::source::audit::{self, Audit, Containers, Owner, SettleError};

/// How long it may take until a record of our own comes.
const PATIENCE: Duration = Duration::from_secs(8);

/// Runs until it is asked to end (SIGTERM, SIGINT). What was recorded is written first. `proc` is where
/// the node's processes are.
pub async fn run(options: Options, proc: PathBuf) -> Result<(), RecorderError> {
    let settings = Settings {
        proc,
        counts: Arc::default(),
    };
    record::<Reading>(options, settings).await
}

#[derive(Clone, Debug)]
struct Settings {
    proc: PathBuf,
    counts: Arc<Counts>,
}

/// Over all recordings.
#[derive(Debug, Default)]
struct Counts {
    /// Records that may be lacking.
    lost: AtomicU64,
    /// Records of processes that were gone.
    unattributed: AtomicU64,
}

#[derive(Debug, Error)]
enum ReadError {
    #[error(
        "no audit record comes: install auditd or a syslog daemon on the node, or record with Bpf ({0})"
    )]
    Nothing(String),
    #[error("there are no tables of audit records for the architecture {0}")]
    Architecture(String),
    #[error("cannot see the processes of the node at {}", .0.display())]
    Processes(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Settle(#[from] SettleError),
    #[error("cannot read audit records")]
    Read(#[source] io::Error),
    #[error("cannot start the thread that reads audit records")]
    Thread(#[source] io::Error),
    #[error("the thread that reads audit records ended")]
    Ended,
}

/// What came of the records so far.
#[derive(Debug)]
struct Known {
    logs: Logs,
    started: Vec<(SubjectId, Started)>,
    failed: Option<ReadError>,
}

type Shared = Arc<(std::sync::Mutex<Known>, Notify)>;
type Settled = oneshot::Sender<Result<bool, ReadError>>;

/// A thread that reads, and what is known of the containers.
struct Reading {
    shared: Shared,
    /// The thread ends with this.
    settle: mpsc::UnboundedSender<Settled>,
    /// By pods' ids: their containers.
    pods: BTreeMap<String, BTreeMap<String, Life>>,
    /// Pods that are gone since the last look.
    gone: BTreeSet<String>,
    /// Whether records came when that was last looked for.
    delivers: bool,
}

impl Source for Reading {
    type Settings = Settings;
    const RECORDER: Recorder = Recorder::Logs;
    const SAYS: [&'static str; 3] = [
        "audit records are read",
        "audit records are read no more",
        "cannot read audit records",
    ];

    fn gauges(settings: &Settings, metrics: &crate::telemetry::metrics::Metrics) {
        let counts = settings.counts.clone();
        metrics.gauge(
            "recorder_lost_records",
            "Audit records that may be lacking, or cannot be read, since the recorder began.",
            move || number(counts.lost.load(Ordering::Relaxed)),
        );
        let counts = settings.counts.clone();
        metrics.gauge(
            "recorder_unattributed_records",
            "Audit records of processes that were gone before it was known whose they were.",
            move || number(counts.unattributed.load(Ordering::Relaxed)),
        );
    }

    async fn start(settings: Settings) -> Result<Self, Failure> {
        let (settle, settles) = mpsc::unbounded_channel();
        let (tell, told) = oneshot::channel();
        spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(async {
                    match Reader::start(settings).await {
                        Ok(reader) => {
                            // Who asked may be gone.
                            drop(tell.send(Ok(reader.shared.clone())));
                            reader.read(settles).await;
                        }
                        Err(error) => drop(tell.send(Err(error))),
                    }
                }),
                Err(error) => drop(tell.send(Err(ReadError::Thread(error)))),
            }
        });
        let started: Result<_, oneshot::error::RecvError> = told.await;
        let shared = started.unwrap_or(Err(ReadError::Ended))?;
        Ok(Self {
            shared,
            settle,
            pods: BTreeMap::new(),
            gone: BTreeSet::new(),
            delivers: true,
        })
    }

    fn news(&mut self, news: &News) {
        match news {
            News::Pod(pod, lives) => {
                with(&self.shared, |known| {
                    for (id, life) in lives {
                        if let Some(began) = life.began {
                            known.logs.started(id, began);
                        }
                    }
                });
                let own = self.pods.entry(pod.uid.clone()).or_default();
                // Of earlier ones the status tells no more: they have ended.
                end(own);
                own.extend(lives.clone());
                if pod.ended {
                    end(own);
                }
            }
            News::PodGone(uid) => {
                if let Some(own) = self.pods.get_mut(uid) {
                    end(own);
                    self.gone.insert(uid.clone());
                }
            }
            News::Recording(..) | News::RecordingGone(_) => {}
        }
    }

    async fn ready(&self) -> io::Result<()> {
        self.shared.1.notified().await;
        Ok(())
    }

    fn release(&mut self, subject: SubjectId) {
        with(&self.shared, |known| known.logs.release(subject));
    }

    fn is_due(&self) -> bool {
        !self.delivers
    }

    fn trouble(&self) -> Option<String> {
        let no_more = ReadError::Nothing("none comes any more".to_owned());
        (!self.delivers).then(|| no_more.to_string())
    }

    async fn look(mut self, cluster: &mut Cluster, sweep: bool) -> Result<Self, Failure> {
        if sweep {
            let (tell, told) = oneshot::channel();
            // If nobody takes it, nobody answers.
            drop(self.settle.send(tell));
            match told.await {
                Ok(settled) => self.delivers = settled?,
                Err(_) => return Err(self.ended().into()),
            }
        }
        let now = seconds();
        let lives = self.pods.values().flatten();
        let ended: Vec<_> = lives
            .filter(|(_, life)| sweep && life.ended)
            .map(|(id, _)| id.clone())
            .collect();
        with(&self.shared, |known| {
            if let Some(error) = known.failed.take() {
                return Err(error);
            }
            for (subject, started) in known.started.drain(..) {
                cluster.started(subject, started);
            }
            for (subject, observed) in known.logs.changed(now) {
                cluster.observed(subject, observed);
            }
            for id in &ended {
                if let Some((subject, observed)) = known.logs.ended(id, now) {
                    cluster.ended(subject, observed);
                }
            }
            Ok(())
        })?;
        if sweep {
            for uid in std::mem::take(&mut self.gone) {
                self.pods.remove(&uid);
            }
        }
        Ok(self)
    }
}

/// They run no more.
fn end(lives: &mut BTreeMap<String, Life>) {
    for life in lives.values_mut() {
        life.ended = true;
    }
}

impl Reading {
    /// Why the thread ended.
    fn ended(&self) -> ReadError {
        let failed = with(&self.shared, |known| known.failed.take());
        failed.unwrap_or(ReadError::Ended)
    }
}

/// What the thread has.
struct Reader {
    audit: Audit,
    containers: Containers,
    shared: Shared,
    counts: Arc<Counts>,
    /// What readers before this one lost.
    lost_before: u64,
    /// What this one had lost before it began.
    lost_at_start: u64,
}

impl Reader {
    /// Opens what there is, and waits until something comes.
    async fn start(settings: Settings) -> Result<Self, ReadError> {
        let Settings { proc, counts } = settings;
        let (_, machine) = process::kernel().map_err(ReadError::Read)?;
        let arch = Arch::from_machine(&machine).ok_or(ReadError::Architecture(machine))?;
        let kernel = Kernel { arch: arch.audit() };
        let containers = Containers::new(&proc);
        let containers = containers.map_err(|error| ReadError::Processes(proc, error))?;
        let (mut audit, failed) = Audit::open(&audit::Places::default(), kernel);
        let began = seconds();
        if !audit.settle(PATIENCE, |_| {}).await? {
            let failed = failed.iter();
            let failed = failed.map(|(source, error)| format!("{source}: {error}"));
            return Err(ReadError::Nothing(failed.collect::<Vec<_>>().join("; ")));
        }
        let sources = audit.delivering().iter().map(ToString::to_string);
        let sources = sources.collect::<Vec<_>>().join(", ");
        tracing::info!(sources, "audit records come");
        let known = Known {
            logs: Logs::new(began),
            started: Vec::new(),
            failed: None,
        };
        Ok(Self {
            lost_before: counts.lost.load(Ordering::Relaxed),
            lost_at_start: audit.losses().lost(),
            audit,
            containers,
            shared: Arc::new((known.into(), Notify::new())),
            counts,
        })
    }

    async fn read(mut self, mut settles: mpsc::UnboundedReceiver<Settled>) {
        loop {
            let done = tokio::select! {
                records = self.audit.next() => match records {
                    Ok(records) => {
                        for record in &records {
                            take(&mut self.containers, &self.shared, &self.counts, record);
                        }
                        Ok(())
                    }
                    Err(error) => Err(ReadError::Read(error)),
                },
                settled = settles.recv() => {
                    let Some(settled) = settled else { return };
                    self.settle(settled).await;
                    Ok(())
                }
            };
            self.count();
            if let Err(error) = done {
                with(&self.shared, |known| known.failed = Some(error));
                self.shared.1.notify_one();
                return;
            }
            self.shared.1.notify_one();
        }
    }

    async fn settle(&mut self, settled: Settled) {
        let Self {
            audit,
            containers,
            shared,
            counts,
            ..
        } = self;
        let done = audit
            .settle(PATIENCE, |record| {
                take(containers, shared, counts, &record);
            })
            .await;
        if let Ok(false) = done {
            tracing::warn!("no audit record comes any more, and what is recorded may lack some");
        }
        self.count();
        // Who asked may be gone.
        drop(settled.send(done.map_err(ReadError::from)));
    }

    fn count(&mut self) {
        let lost = self.audit.losses().lost() - self.lost_at_start;
        self.counts
            .lost
            .store(self.lost_before + lost, Ordering::Relaxed);
        with(&self.shared, |known| known.logs.lost(lost));
    }
}

/// Finds out whose a verdict is. Records of security modules are not recorded.
fn take(containers: &mut Containers, shared: &Shared, counts: &Counts, record: &Audited) {
    let Audited::Seccomp(verdict) = record else {
        return;
    };
    let at = verdict.stamp.map(|stamp| stamp.at_ms);
    match containers.owner(verdict.tgid, at) {
        Owner::Container(container) => with(shared, |known| {
            let pod = container.pod.as_deref();
            let new = known.logs.verdict(verdict, &container.id, pod, seconds());
            known.started.extend(new);
        }),
        Owner::Host => {}
        Owner::Unknown => {
            counts.unattributed.fetch_add(1, Ordering::Relaxed);
            with(shared, |known| known.logs.unattributed());
        }
    }
}

fn with<R>(shared: &Shared, what: impl FnOnce(&mut Known) -> R) -> R {
    let known = shared.0.lock();
    what(&mut known.unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Now, in seconds since 1970.
fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
