//! The command, and everything that descends from it.

use std::collections::BTreeSet;
use std::io;

use anyhow::{Context as _, Result};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::signals::Wish;
use crate::node::process::{self, ProcessKey};

/// As shells do: 128 and the number.
pub(super) fn signalled(signal: Signal) -> u8 {
    u8::try_from(signal as i32).map_or(u8::MAX, |number| number.saturating_add(128))
}

/// The command, and what became this process's child since.
pub(super) struct Children {
    command: Pid,
    /// The command's exit code, once it has one.
    code: Option<u8>,
    /// Those that this process had before: a script may have become spo with children of its own.
    inherited: BTreeSet<ProcessKey>,
}

impl Children {
    /// Makes this process the one whose children orphans become: it sees the last descendant end.
    pub(super) fn adopt(command: Pid) -> Result<Self> {
        prctl::set_child_subreaper(true).context("failed to become the parent of orphans")?;
        let mut inherited = descendants();
        inherited.retain(|process| process.pid != command.as_raw());
        Ok(Self {
            command,
            code: None,
            inherited,
        })
    }

    /// The command's exit code, once it has one.
    pub(super) fn code(&self) -> Option<u8> {
        self.code
    }

    /// Takes leave of those that ended; whether it was the last.
    pub(super) fn reap(&mut self) -> Result<bool> {
        loop {
            let (pid, status) = match wait(WaitOptions::NOHANG) {
                Ok(Some(ended)) => ended,
                Ok(None) => {
                    let others = !self.inherited.is_empty();
                    return Ok(others && self.code.is_some() && self.remaining().is_empty());
                }
                Err(Errno::INTR) => continue,
                Err(Errno::CHILD) => return Ok(true),
                Err(errno) => {
                    return Err(io::Error::from(errno)).context("failed to wait for the command");
                }
            };
            if pid.as_raw_pid() == self.command.as_raw() {
                self.code = exit_code(status).or(self.code);
            }
        }
    }

    /// Those that live.
    pub(super) fn remaining(&self) -> BTreeSet<ProcessKey> {
        descendants().difference(&self.inherited).copied().collect()
    }

    /// Passes a signal on to the command.
    pub(super) fn pass_on(&self, wish: Wish) {
        if self.code.is_none() && !wish.is_known {
            send(self.command, wish.signal);
        }
    }

    /// Asks everybody to end.
    pub(super) fn end_all(&self) {
        for process in self.remaining() {
            send(Pid::from_raw(process.pid), Signal::SIGTERM);
        }
    }
}

/// As shells tell it; nothing if the process was only stopped. Any signal can be the end, those
/// without a name too.
fn exit_code(status: WaitStatus) -> Option<u8> {
    let code = match status.terminating_signal() {
        Some(signal) => signal + 128,
        None => status.exit_status()?,
    };
    Some(u8::try_from(code).unwrap_or(u8::MAX))
}

fn descendants() -> BTreeSet<ProcessKey> {
    let myself = std::process::id().cast_signed();
    process::descendants(&BTreeSet::from([myself])).unwrap_or_default()
}

fn send(pid: Pid, signal: Signal) {
    // One that ended meanwhile needs no signal.
    let _gone = kill(pid, signal).is_err();
}
