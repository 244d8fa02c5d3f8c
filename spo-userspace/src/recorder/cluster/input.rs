//! What the machine is told.

use std::collections::BTreeSet;

use super::Command;
use super::take::End;
use crate::event::{Call, Checks, Losses};
use crate::profile::arch::Arch;

/// What is kept at most. What does not fit is counted.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sets of what has ended and waits for its pod to be known.
    pub waiting: usize,
    /// What recordings have of containers.
    pub takes: usize,
    /// Commands that entered a container, and are listed.
    pub commands: usize,
    /// Names of containers of a recording of which it is kept what came of them.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 1024,
            takes: 4096,
            commands: 16,
            names: 256,
        }
    }
}

/// The recorder that sees only what filters log.
pub(super) const LOGS: &str = "Logs";

/// What is the same for all profiles of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub arch: Arch,
    /// The release of its kernel.
    pub kernel: String,
    /// Calls that every container needs.
    pub base: Vec<String>,
    /// What watches its containers, by the name that recordings have for it.
    pub recorder: &'static str,
}

/// A recording, by where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordingKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What an earlier recorder of the node had of a container of a pod, and handed in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HandedIn {
    /// The recording's id.
    pub recording: String,
    /// The pod's id.
    pub pod: String,
    /// The container's name.
    pub container: String,
}

/// A recording of system calls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is what the object says, for itself"
)]
pub struct Recording {
    /// Where it is.
    pub key: RecordingKey,
    /// Which one of that name: another one has another.
    pub uid: String,
    /// The containers to record; none means all of them.
    pub containers: BTreeSet<String>,
    /// When it was made, in seconds since 1970.
    pub created: Option<u64>,
    /// Whether its profiles are to be merged.
    pub merge: bool,
    /// Whether its profiles are not to be installed.
    pub disabled: bool,
    /// Whether its namespace has the label without which nothing is recorded.
    pub enabled: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether a rule has ended it.
    pub finished: Option<Finished>,
}

impl Recording {
    /// Whether nothing more is recorded for it.
    pub fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    /// Why nothing more is recorded for it, if that is so.
    pub(super) fn end(&self) -> Option<End> {
        let ends = [
            (self.deleting, End::RecordingDeleted),
            (self.finished.is_some(), End::RecordingFinished),
            (!self.enabled, End::LabelGone),
        ];
        let end = ends.into_iter().find(|(is, _)| *is);
        end.map(|(_, end)| end)
    }
}

/// How a recording ended by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The rule, in words.
    pub why: String,
    /// Whether what exercised the workload failed.
    pub failed: bool,
}

/// A pod of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What its name was made of.
    pub generate_name: Option<String>,
    /// The API server's id.
    pub uid: String,
    /// Of a static pod: the kubelet's id.
    pub static_hash: Option<String>,
    /// The names of the recordings that select it.
    pub recordings: BTreeSet<String>,
    /// Its containers of all kinds.
    pub containers: Vec<PodContainer>,
    /// Whether it succeeded or failed, and runs no more.
    pub ended: bool,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodContainer {
    /// Its name.
    pub name: String,
    /// The runtime's ids of those that the status tells of and that ran, without `containerd://`.
    pub ids: Vec<String>,
    /// When it began to run, the last time, in seconds since 1970.
    pub began: Option<u64>,
    /// The runtime.
    pub runtime: Option<String>,
    /// The image, by its digest.
    pub image: Option<String>,
    /// The commands of probes and hooks.
    pub commands: Vec<Vec<String>>,
    /// It is privileged: runtimes give it no filter.
    pub privileged: bool,
    /// A filter holds it that lets all calls pass and has each of them logged.
    pub logged: bool,
}

/// A subject is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// The runtime's id of the container, if its cgroup is named after one.
    pub container: Option<String>,
    /// The kubelet's id of the pod, if the cgroup tells.
    pub pod: Option<String>,
    /// The name of the first program.
    pub comm: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// What was lost before.
    pub losses: Losses,
}

impl Started {
    /// Whether it is likely what keeps a pod's namespaces, and no container of its.
    pub(super) fn is_sandbox(&self) -> bool {
        self.comm == "pause"
    }
}

/// A subject is there that entered a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Where and when.
    pub started: Started,
    /// What it ran first.
    pub command: Command,
}

/// What a subject did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The calls.
    pub calls: BTreeSet<Call>,
    /// Numbers that no table has room for, with how often they were passed.
    pub unnamed: Vec<(Call, u64)>,
    /// The capabilities that it used, as bits by the kernel's numbers.
    pub capabilities: u64,
    /// How far these are seen; nothing, if nobody has looked yet.
    pub checks: Option<Checks>,
    /// It ran under a seccomp filter.
    pub filtered: bool,
    /// It ran before anybody looked: what it did then is not in it.
    pub late: bool,
    /// When it was looked at, in seconds since 1970.
    pub at: u64,
    /// When it made a call that it had not made before, for the last time.
    pub last_new: Option<u64>,
    /// What was lost up to now.
    pub losses: Losses,
}
