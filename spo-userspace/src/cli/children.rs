//! The command, and everything that descends from it.

use std::collections::BTreeSet;
use std::io;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};

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
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {
                    let others = !self.inherited.is_empty();
                    return Ok(others && self.code.is_some() && self.remaining().is_empty());
                }
                Ok(WaitStatus::Exited(pid, code)) if pid == self.command => {
                    self.code = Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.command => {
                    self.code = Some(signalled(signal));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return Ok(true),
                Err(errno) => {
                    return Err(io::Error::from(errno)).context("failed to wait for the command");
                }
            }
        }
    }

    /// Those that live.
    pub(super) fn remaining(&self) -> BTreeSet<ProcessKey> {
        descendants().difference(&self.inherited).copied().collect()
    }

    /// Passes a signal on to the command.
    pub(super) fn pass_on(&self, signal: Signal) {
        // Ctrl-C goes to all processes of the terminal's foreground anyway.
        if self.code.is_none() && !(signal == Signal::SIGINT && is_foreground()) {
            send(self.command, signal);
        }
    }

    /// Asks everybody to end.
    pub(super) fn end_all(&self) {
        for process in self.remaining() {
            send(Pid::from_raw(process.pid), Signal::SIGTERM);
        }
    }
}

fn descendants() -> BTreeSet<ProcessKey> {
    let myself = std::process::id().cast_signed();
    process::descendants(&BTreeSet::from([myself])).unwrap_or_default()
}

fn send(pid: Pid, signal: Signal) {
    // One that ended meanwhile needs no signal.
    let _gone = kill(pid, signal).is_err();
}

/// Whether Ctrl-C on the terminal reaches this process group.
fn is_foreground() -> bool {
    std::fs::File::open("/dev/tty").is_ok_and(|terminal| tcgetpgrp(&terminal) == Ok(getpgrp()))
}
