//! The signals that end a recording or a run, and that of a child's end.

use std::io;

use nix::sys::signal::Signal;
use procfs::process::Process;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{self, SignalKind, signal};

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// A child ended.
    Child,
    /// Somebody wants an end.
    End(Signal),
}

/// Handlers, from the moment that this exists. It is made before a command begins, so that none is missed.
pub(super) struct Signals {
    child: unix::Signal,
    interrupt: Option<unix::Signal>,
    terminate: Option<unix::Signal>,
    hang_up: Option<unix::Signal>,
    quit: Option<unix::Signal>,
}

/// The event loop of a verb, and its signals.
pub(super) fn event_loop() -> io::Result<(Runtime, Signals)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _entered = runtime.enter();
        Signals::new()?
    };
    Ok((runtime, signals))
}

impl Signals {
    /// What was ignored stays so: `nohup` and background jobs of a shell mean it.
    fn new() -> io::Result<Self> {
        let ignored = Process::myself()
            .and_then(|process| process.status())
            .map_or(0, |status| status.sigign);
        let unless_ignored = |kind: SignalKind| {
            let bit = 1_u64 << (kind.as_raw_value() - 1);
            if ignored & bit != 0 {
                return Ok(None);
            }
            signal(kind).map(Some)
        };
        Ok(Self {
            child: signal(SignalKind::child())?,
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: unless_ignored(SignalKind::terminate())?,
            hang_up: unless_ignored(SignalKind::hangup())?,
            quit: unless_ignored(SignalKind::quit())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Arrived {
        let Self {
            child,
            interrupt,
            terminate,
            hang_up,
            quit,
        } = self;
        tokio::select! {
            _ = child.recv() => Arrived::Child,
            () = arrival(interrupt) => Arrived::End(Signal::SIGINT),
            () = arrival(terminate) => Arrived::End(Signal::SIGTERM),
            () = arrival(hang_up) => Arrived::End(Signal::SIGHUP),
            () = arrival(quit) => Arrived::End(Signal::SIGQUIT),
        }
    }
}

async fn arrival(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
