//! One recording from its begin to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nix::sys::signal::Signal;
use tokio::runtime::Runtime;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::super::children::{Children, signalled};
use super::super::exit::{Failure, TIMED_OUT};
use super::super::held::Held;
use super::super::progress::{Live, line};
use super::super::signals::{Arrived, Signals, Wish, event_loop};
use super::announce;
use super::joined::Joined;
use crate::bpf::Ready;
use crate::bpf::recorder::{Recorder, Target};
use crate::event::{FirstSight, Observation};
use crate::node::process::{self, ProcessKey};
use crate::recorder::{Stream, count};

/// How long a command that was asked to end may go on, and still be recorded.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at what remains.
const TICK: Duration = Duration::from_millis(500);

/// How a recording ended, as far as the exit code is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing was started, so nothing had an exit code.
    Joined,
    /// The command ended with this code.
    Code(u8),
    /// The command goes on: a signal ended the recording, or the time ran out.
    Unended(Option<Signal>),
}

impl Ending {
    pub(super) fn code(self) -> ExitCode {
        match self {
            Self::Joined => ExitCode::SUCCESS,
            Self::Code(code) => ExitCode::from(code),
            Self::Unended(None) => ExitCode::from(TIMED_OUT),
            Self::Unended(Some(signal)) => ExitCode::from(signalled(signal)),
        }
    }
}

/// What a recording left.
pub(super) struct Finished {
    pub(super) observation: Observation,
    /// Why the recording cannot be complete, if that came up on the way.
    pub(super) partial: Vec<String>,
    /// The ids of containers, by subject.
    pub(super) containers: BTreeMap<u32, String>,
}

/// A recording that runs.
pub(super) struct Session<'a> {
    recorder: Recorder,
    name: &'a str,
    timeout: Option<Duration>,
    stream: Stream,
    containers: BTreeMap<u32, String>,
    /// Process ids of the kernel are those of `/proc` here.
    knows_processes: bool,
}

/// What woke the session up.
enum Woken {
    Child,
    Interrupted(Wish),
    TimedOut,
    GraceOver,
    Tick,
    Events,
}

impl<'a> Session<'a> {
    pub(super) fn new(recorder: Recorder, name: &'a str, timeout: Option<Duration>) -> Self {
        Self {
            recorder,
            name,
            timeout,
            stream: Stream::default(),
            containers: BTreeMap::new(),
            knows_processes: process::in_initial_pid_namespace().unwrap_or(false),
        }
    }

    /// Lets a command begin, and records until its last descendant ends.
    pub(super) fn follow_command(
        mut self,
        held: Held,
        containers: bool,
    ) -> Result<(Finished, Ending), Failure> {
        let mut children = Children::adopt(held.pid())?;
        let events = event_loop().context("failed to start the event loop")?;
        announce(
            self.name,
            if containers {
                ": every container that it starts"
            } else {
                ""
            },
        );
        let recorder = &self.recorder;
        let is_armed = || {
            if containers {
                Ok(true)
            } else {
                recorder.is_armed().map_err(anyhow::Error::from)
            }
        };
        held.release(is_armed)?;
        let stop = self.watch(events, &mut Subject::Children(&mut children))?;
        let mut partial = Vec::new();
        let ending = match (children.code(), stop) {
            (Some(code), _) => Ending::Code(code),
            (None, stop) => Ending::Unended(stop),
        };
        let remaining = children.remaining();
        if !remaining.is_empty() {
            let processes = count(remaining.len(), "process");
            partial.push(format!("{processes} went on after the recording ended"));
            line(format_args!("left running, unrecorded: {processes}"));
        }
        Ok((self.finish(partial)?, ending))
    }

    /// Records what runs already until it ends.
    pub(super) fn follow_joined(mut self, joined: Joined) -> Result<Finished, Failure> {
        let events = event_loop().context("failed to start the event loop")?;
        announce(
            self.name,
            &format!(
                ", which runs already as process {}; Ctrl-C ends the recording",
                joined.pid()
            ),
        );
        let known = joined.processes().context("failed to list the processes")?;
        // A tree is marked by now, and may go on without the process that it began with.
        let came_too_late = if joined.is_tree() {
            self.recorder.seeded()? == 0
        } else {
            known.is_empty()
        };
        if came_too_late {
            return Err(
                anyhow!("process {} ended before the recording began", joined.pid()).into(),
            );
        }
        self.watch(events, &mut Subject::Joined { joined, known })?;
        self.finish(Vec::new())
    }

    /// Records until somebody says stop.
    pub(super) fn until_interrupted(mut self) -> Result<Finished, Failure> {
        let events = event_loop().context("failed to start the event loop")?;
        announce(
            "everything outside the host's mount namespace",
            "; Ctrl-C ends the recording",
        );
        self.watch(events, &mut Subject::Everything)?;
        self.finish(Vec::new())
    }

    fn finish(self, partial: Vec<String>) -> Result<Finished, Failure> {
        let Self {
            recorder,
            mut stream,
            containers,
            ..
        } = self;
        let mut observation = recorder.finish(|event| stream.push(&event))?;
        stream.compare(&mut observation);
        Ok(Finished {
            observation,
            partial,
            containers,
        })
    }

    /// A container's id is known as long as one of its processes lives.
    fn take_note(&mut self, event: &FirstSight) {
        self.stream.push(event);
        if self.recorder.target() == Target::NewNamespaces
            && self.knows_processes
            && !self.containers.contains_key(&event.subject)
            && let Some(id) = process::container_of(event.tgid.cast_signed())
        {
            self.containers.insert(event.subject, id);
        }
    }

    /// Waits for the end; returns the signal that brought it about, if one did.
    fn watch(
        &mut self,
        (runtime, signals): (Runtime, Signals),
        subject: &mut Subject<'_>,
    ) -> Result<Option<Signal>, Failure> {
        let mut live = Live::new();
        let stopped_by = runtime.block_on(self.event_loop(signals, subject, &mut live));
        live.clear();
        Ok(stopped_by?)
    }

    async fn event_loop(
        &mut self,
        mut signals: Signals,
        subject: &mut Subject<'_>,
        live: &mut Live,
    ) -> Result<Option<Signal>> {
        let began = Instant::now();
        let far = Duration::from_hours(365 * 24);
        let timeout = sleep_until((began + self.timeout.unwrap_or(far)).into());
        tokio::pin!(timeout);
        let grace = sleep_until((began + far).into());
        tokio::pin!(grace);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut tick = 0;
        let mut stopped_by = None;
        let mut stopping = false;
        let events = Ready::of(self.recorder.events()).context("failed to wait for events")?;
        loop {
            let woken = tokio::select! {
                arrived = signals.next() => match arrived? {
                    Arrived::Child => Woken::Child,
                    Arrived::End(wish) => Woken::Interrupted(wish),
                },
                () = &mut timeout, if !stopping => Woken::TimedOut,
                () = &mut grace, if stopping => Woken::GraceOver,
                _ = ticks.tick() => Woken::Tick,
                ready = events.wait() => { ready?; Woken::Events }
            };
            while let Some(event) = self.recorder.events().take() {
                self.take_note(&event);
            }
            match woken {
                // The first tick is at once: what ended before the signal handlers stood is seen then.
                Woken::Child | Woken::Tick if subject.has_ended(&mut self.recorder)? => {
                    return Ok(stopped_by);
                }
                Woken::Child | Woken::Events => {}
                Woken::Tick => {
                    // While the command has the terminal, a line of ours would destroy its own.
                    if !(live.is_on_terminal() && subject.has_the_terminal()) {
                        live.update(tick, &self.status(began.elapsed(), subject));
                    }
                    tick += 1;
                }
                Woken::GraceOver => return Ok(stopped_by),
                Woken::Interrupted(wish) if stopping => return Ok(Some(wish.signal)),
                Woken::Interrupted(_) | Woken::TimedOut => {
                    let wish = match woken {
                        Woken::Interrupted(wish) => Some(wish),
                        _ => None,
                    };
                    stopped_by = wish.map(|wish| wish.signal);
                    live.clear();
                    if !subject.ask_to_end(wish) {
                        return Ok(stopped_by);
                    }
                    stopping = true;
                    grace.as_mut().reset((Instant::now() + GRACE).into());
                    line(format_args!(
                        "{}; still recording for up to {} s while the command ends (Ctrl-C ends it now)",
                        if stopped_by.is_some() {
                            "interrupted"
                        } else {
                            "the time is over"
                        },
                        GRACE.as_secs()
                    ));
                }
            }
        }
    }

    fn status(&self, elapsed: Duration, subject: &Subject<'_>) -> String {
        let syscalls = count(self.stream.len(), "syscall");
        let remaining = subject
            .remaining()
            .map(|remaining| format!(", {} running", count(remaining, "process")))
            .unwrap_or_default();
        format!("{} s, {syscalls}{remaining}", elapsed.as_secs())
    }
}

/// What a session waits for.
enum Subject<'a> {
    Children(&'a mut Children),
    Joined {
        joined: Joined,
        known: BTreeSet<ProcessKey>,
    },
    Everything,
}

impl Subject<'_> {
    fn has_ended(&mut self, recorder: &mut Recorder) -> Result<bool> {
        match self {
            Self::Children(children) => children.reap(),
            // The kernel's programs know who belongs to the tree, also after a parent ended.
            Self::Joined { joined, known } if joined.is_tree() => {
                *known = process::living(recorder.members()?);
                Ok(known.is_empty())
            }
            Self::Joined { joined, known } => {
                // A child of one that is known is known, even after its parent ends.
                known.extend(joined.processes()?);
                let roots = known.iter().map(|process| process.pid).collect();
                known.extend(process::descendants(&roots)?);
                *known = process::alive(known);
                Ok(known.is_empty())
            }
            Self::Everything => Ok(false),
        }
    }

    /// Whether a command runs that writes to the same terminal as we do.
    fn has_the_terminal(&self) -> bool {
        match self {
            Self::Children(children) => children.code().is_none(),
            Self::Joined { .. } | Self::Everything => false,
        }
    }

    fn remaining(&self) -> Option<usize> {
        match self {
            Self::Children(children) => Some(children.remaining().len()),
            Self::Joined { known, .. } => Some(known.len()),
            Self::Everything => None,
        }
    }

    /// Passes a signal on (or, without one, tells everybody that the time is over); whether there is
    /// anybody to wait for.
    fn ask_to_end(&self, wish: Option<Wish>) -> bool {
        let Self::Children(children) = self else {
            return false;
        };
        match wish {
            Some(wish) => children.pass_on(wish),
            None => children.end_all(),
        }
        true
    }
}
