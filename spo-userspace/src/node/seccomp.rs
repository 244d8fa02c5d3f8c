//! What this node's kernel can do with seccomp filters.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::thread;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};
use thiserror::Error;

/// The actions that the kernel knows, by its own words (`Documentation/userspace-api/seccomp_filter.rst`).
const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

/// The kernel's words for the actions that filters may take; none if it has no filters.
pub fn actions() -> io::Result<BTreeSet<String>> {
    match fs::read_to_string(ACTIONS) {
        Ok(text) => Ok(text.split_whitespace().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// Why a call could not be logged.
#[derive(Debug, Error)]
pub enum LogError {
    /// There was no thread for it.
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
    /// There was no filter for it.
    #[error("failed to load a filter that logs a call")]
    Filter(#[source] SeccompError),
    /// The thread panicked.
    #[error("the thread that makes a call ended early")]
    Ended,
}

/// Makes a call that a filter has the kernel log, in a thread of this name, of which the kernel
/// keeps 15 bytes. The filter ends with the thread.
pub fn log_a_call(thread: &str) -> Result<(), LogError> {
    let call = || -> Result<(), SeccompError> {
        let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
        filter.add_rule(ScmpAction::Log, ScmpSyscall::from_name("getppid")?)?;
        filter.load()?;
        let _parent = rustix::process::getppid();
        Ok(())
    };
    let started = thread::Builder::new().name(thread.to_owned()).spawn(call);
    let made = started.map_err(LogError::Thread)?.join();
    match made {
        Ok(result) => result.map_err(LogError::Filter),
        Err(_) => Err(LogError::Ended),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_kernel_can_allow() {
        assert!(super::actions().unwrap().contains("allow"));
    }
}
