//! Looks at files again and again while others work.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

/// Short beside the time that a kubelet needs to start a container.
const INTERVAL: Duration = Duration::from_millis(1);

pub(crate) struct Observed {
    /// It ends when this goes.
    stop: Sender<()>,
    thread: JoinHandle<Vec<String>>,
}

impl Observed {
    /// Begins with files that are profiles, each of which has this default action.
    pub(crate) fn begin(files: Vec<PathBuf>, action: &'static str) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = thread::spawn(move || {
            let mut wrong = Vec::new();
            loop {
                for file in &files {
                    wrong.extend(flaw(file, action));
                }
                let waited = stopped.recv_timeout(INTERVAL);
                if waited != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    return wrong;
                }
            }
        });
        Self { stop, thread }
    }

    /// Fails if a file was not there at any look, or was not whole.
    pub(crate) fn end(self) -> Result<()> {
        let Self { stop, thread } = self;
        drop(stop);
        let wrong = thread.join().expect("looking at files does not panic");
        let count = wrong.len();
        ensure!(wrong.is_empty(), "{count} times: {:?}", wrong.first());
        Ok(())
    }
}

fn flaw(file: &Path, action: &str) -> Option<String> {
    let wrong = |what: String| Some(format!("{}: {what}", file.display()));
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) => return wrong(error.to_string()),
    };
    match serde_json::from_slice::<Value>(&text) {
        Ok(profile) if profile["defaultAction"] == action => None,
        Ok(profile) => wrong(profile.to_string()),
        Err(error) => wrong(error.to_string()),
    }
}
