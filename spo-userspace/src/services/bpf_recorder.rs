//! The recorder of a node that sees by programs in the kernel what containers do.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::task::spawn_blocking;

use super::recorder::{Failure, Source, number, run as record};
pub use super::recorder::{Options, RecorderError};
use crate::api::profile_recording::Recorder;
use crate::bpf;
use crate::bpf::containers::{Changes, Containers};
use crate::bpf::kernel::Kernel;
use crate::bpf::recorder::Limits;
use crate::bpf::sweep::Swept;
use crate::controller::recorder::News;
use crate::enrich;
use crate::event::{self, CgroupNames, Checks, Losses, SubjectId, SubjectObservation};
use crate::node::{capabilities, process};
use crate::recorder::cluster::{Cluster, Command, Entered, Observed, Started};
use crate::telemetry::metrics::Metrics;

/// Runs until it is asked to end (SIGTERM, SIGINT). What was recorded is written first.
pub async fn run(options: Options) -> Result<(), RecorderError> {
    record::<Attached>(options, Settings::default()).await
}

#[derive(Clone, Debug, Default)]
struct Settings {
    /// Mount namespaces that ended, in which programs ran, and of which no workload was seen.
    unrecognised: Arc<AtomicU64>,
}

/// Programs that are attached, and what is known of their subjects.
struct Attached {
    settings: Settings,
    ready: bpf::Ready,
    containers: Containers,
    /// What was told and not released.
    known: BTreeSet<SubjectId>,
    /// What may have done something since it was looked at.
    changed: BTreeSet<SubjectId>,
    /// What is to be released.
    release: BTreeSet<SubjectId>,
    losses: Losses,
    /// Whether it is time to make room.
    crowded: bool,
}

/// What was seen since the last time.
#[derive(Debug, Default)]
struct Seen {
    started: Vec<(event::Started, Losses)>,
    observed: Vec<(SubjectId, SubjectObservation)>,
    ended: Vec<(SubjectId, SubjectObservation)>,
    losses: Losses,
    /// How far capabilities are seen.
    checks: Option<Checks>,
}

impl Attached {
    fn attach(settings: Settings) -> Result<Self, Failure> {
        let missing = capabilities::missing(&capabilities::TO_RECORD);
        if !missing.is_empty() {
            let missing = missing.join(" and ");
            return Err(format!("the recorder's container lacks {missing}").into());
        }
        let pid_max = process::pid_max()?;
        let kernel = Kernel::probe()?;
        let mut containers = Containers::start(&kernel, Limits::for_containers(pid_max))?;
        match containers.checks() {
            Checks::Used => {}
            Checks::Asked => {
                tracing::info!("capabilities that are asked for are taken for used ones");
            }
            Checks::Untold(reason) => {
                tracing::warn!(reason, "it cannot be seen which capabilities are used");
            }
        }
        drop(kernel);
        bpf::memory::give_back();
        Ok(Self {
            ready: bpf::Ready::of(&containers)?,
            losses: counted(containers.losses()?, &settings),
            settings,
            containers,
            known: BTreeSet::new(),
            changed: BTreeSet::new(),
            release: BTreeSet::new(),
            crowded: false,
        })
    }

    /// Looks at what changed. A sweep finds what ended as well, and takes some time.
    fn see(&mut self, sweep: bool) -> Result<Seen, bpf::Error> {
        let Changes {
            started,
            grown,
            crowded,
        } = self.containers.poll()?;
        let mut seen = Seen {
            checks: Some(self.containers.checks().clone()),
            ..Seen::default()
        };
        for started in started {
            self.known.insert(started.id);
            self.changed.insert(started.id);
            // What was lost since the last look may be its own.
            seen.started.push((started, self.losses));
        }
        self.changed.extend(grown);
        if crowded {
            self.crowded = true;
            // Of some, it may not have been told that they did something.
            self.changed.extend(&self.known);
        }
        self.losses = counted(self.containers.losses()?, &self.settings);
        seen.losses = self.losses;
        for id in std::mem::take(&mut self.changed) {
            if self.known.contains(&id) && !self.release.contains(&id) {
                seen.observed.push((id, self.containers.observe(id)?));
            }
        }
        if sweep {
            self.sweep(&mut seen)?;
        }
        Ok(seen)
    }

    fn sweep(&mut self, seen: &mut Seen) -> Result<(), bpf::Error> {
        self.release.retain(|id| self.known.contains(id));
        let release: Vec<_> = self.release.iter().copied().collect();
        let Swept {
            ended,
            unrecognised,
        } = self.containers.sweep(&release)?;
        self.crowded = false;
        for id in std::mem::take(&mut self.release) {
            self.known.remove(&id);
        }
        self.settings
            .unrecognised
            .fetch_add(unrecognised, Ordering::Relaxed);
        for id in ended {
            if self.known.contains(&id) {
                seen.ended.push((id, self.containers.observe(id)?));
            }
        }
        self.losses = counted(self.containers.losses()?, &self.settings);
        seen.losses = self.losses;
        Ok(())
    }
}

/// What was lost, with the namespaces of which nobody can tell whether a workload was in them.
fn counted(mut losses: Losses, settings: &Settings) -> Losses {
    losses.unresolved += settings.unrecognised.load(Ordering::Relaxed);
    losses
}

impl Source for Attached {
    type Settings = Settings;
    const RECORDER: Recorder = Recorder::Bpf;
    const SAYS: [&'static str; 3] = [
        "the programs are attached",
        "the programs are detached",
        "cannot attach the programs",
    ];

    fn gauges(settings: &Settings, metrics: &Metrics) {
        let unrecognised = settings.unrecognised.clone();
        metrics.gauge(
            "recorder_unrecognised_namespaces",
            "Mount namespaces that ended and in which no workload was seen to begin.",
            move || number(unrecognised.load(Ordering::Relaxed)),
        );
    }

    async fn start(settings: Settings) -> Result<Self, Failure> {
        spawn_blocking(|| Self::attach(settings)).await?
    }

    /// What ends, the programs tell.
    fn news(&mut self, _: &News) {}

    async fn ready(&self) -> io::Result<()> {
        self.ready.wait().await
    }

    fn release(&mut self, subject: SubjectId) {
        self.release.insert(subject);
    }

    fn is_due(&self) -> bool {
        self.crowded || !self.release.is_empty()
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    async fn look(mut self, cluster: &mut Cluster, sweep: bool) -> Result<Self, Failure> {
        // It waits for the kernel, some milliseconds.
        let (own, seen) = spawn_blocking(move || {
            let seen = self.see(sweep);
            (self, seen)
        })
        .await?;
        let clock = Clock::now()?;
        tell(cluster, seen?, &clock);
        Ok(own)
    }
}

/// The difference between the clock of the kernel's programs and that of people.
struct Clock {
    wall: Duration,
    monotonic: Duration,
}

impl Clock {
    /// As it is now.
    fn now() -> io::Result<Self> {
        let read = |clock: ClockId| clock_gettime(clock).map(Duration::from);
        Ok(Self {
            wall: read(ClockId::CLOCK_REALTIME)?,
            monotonic: read(ClockId::CLOCK_MONOTONIC)?,
        })
    }

    /// Now, in seconds since 1970.
    fn seconds(&self) -> u64 {
        self.wall.as_secs()
    }

    fn at(&self, monotonic_ns: u64) -> u64 {
        let ago = self
            .monotonic
            .saturating_sub(Duration::from_nanos(monotonic_ns));
        self.wall.saturating_sub(ago).as_secs()
    }
}

/// Tells the machine what was seen.
fn tell(cluster: &mut Cluster, seen: Seen, clock: &Clock) {
    let Seen {
        started,
        observed,
        ended,
        losses,
        checks,
    } = seen;
    for (started, losses) in started {
        begin(cluster, started, losses, clock);
    }
    for (id, observation) in observed {
        cluster.observed(id, observed_of(observation, losses, checks.as_ref(), clock));
    }
    for (id, observation) in ended {
        cluster.ended(id, observed_of(observation, losses, checks.as_ref(), clock));
    }
}

fn begin(cluster: &mut Cluster, started: event::Started, losses: Losses, clock: &Clock) {
    let event::Started {
        id,
        entered,
        namespace_id: _,
        namespace_inum: _,
        tgid: _,
        comm,
        time_ns,
        arguments,
        arguments_cut,
        unified,
        controller,
    } = started;
    let container = [&unified, &controller].into_iter().find_map(container);
    let (container, pod) = container.map_or((None, None), |found| (Some(found.id), found.pod));
    let started = Started {
        container,
        pod,
        comm: comm.to_string(),
        at: clock.at(time_ns),
        losses,
    };
    if entered {
        let arguments = arguments.join("\0");
        let command = Command::new(arguments.as_bytes(), arguments_cut);
        cluster.entered(id, Entered { started, command });
    } else {
        cluster.started(id, started);
    }
}

fn container(names: &CgroupNames) -> Option<enrich::Container> {
    let CgroupNames { leaf, parent } = names;
    enrich::container([leaf.as_bytes(), parent.as_bytes()])
}

fn observed_of(
    observation: SubjectObservation,
    losses: Losses,
    checks: Option<&Checks>,
    clock: &Clock,
) -> Observed {
    let SubjectObservation {
        index: _,
        phase: _,
        namespace_inum: _,
        namespace_id: _,
        tgid: _,
        comm: _,
        last_new_ns,
        filtered,
        executed: _,
        calls,
        unnamed,
        capabilities,
    } = observation;
    Observed {
        calls: calls.into_iter().collect(),
        unnamed,
        capabilities,
        checks: checks.cloned(),
        filtered,
        late: false,
        at: clock.seconds(),
        last_new: (last_new_ns != 0).then(|| clock.at(last_new_ns)),
        losses,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_that_were_not_seen_to_begin_are_losses() {
        let settings = Settings::default();
        let before = counted(Losses::default(), &settings);
        assert_eq!(before.lost(), 0);
        settings.unrecognised.fetch_add(2, Ordering::Relaxed);
        let losses = counted(Losses::default(), &settings);
        assert_eq!(losses.since(&before).lost(), 2);
    }
}
