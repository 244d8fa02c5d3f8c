//! The signals that end a recording or a run, and that of a child's end.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use procfs::process::Process;
use tokio::runtime::{Builder, Runtime};

use crate::bpf::Ready;

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// A child ended.
    Child,
    /// Somebody wants an end.
    End(Wish),
}

/// A signal that asks for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) signal: Signal,
    /// The command has the signal already: Ctrl-C goes to all processes of the terminal's foreground.
    pub(super) is_known: bool,
}

/// Takes signals in from the moment that this exists. It is made before a command begins, so that none is missed; a
/// command does not inherit that they are held back here (`std::process::Command` starts with none blocked).
pub(super) struct Signals {
    descriptor: SignalFd,
    ready: Ready,
}

/// Sent by the kernel, such as for a key on the terminal (`include/uapi/asm-generic/siginfo.h`).
const SI_KERNEL: i32 = 0x80;

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
        let mut taken = SigSet::empty();
        taken.add(Signal::SIGCHLD);
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ] {
            if ignored & (1 << (signal as i32 - 1)) == 0 {
                taken.add(signal);
            }
        }
        taken.thread_block()?;
        let descriptor =
            SignalFd::with_flags(&taken, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let ready = Ready::of(&descriptor)?;
        Ok(Self { descriptor, ready })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> io::Result<Arrived> {
        loop {
            let Some(arrived) = self.descriptor.read_signal()? else {
                self.ready.wait().await?;
                continue;
            };
            return Ok(match Signal::try_from(arrived.ssi_signo.cast_signed())? {
                Signal::SIGCHLD => Arrived::Child,
                signal => Arrived::End(Wish {
                    signal,
                    is_known: arrived.ssi_code == SI_KERNEL
                        && matches!(signal, Signal::SIGINT | Signal::SIGQUIT),
                }),
            });
        }
    }
}
