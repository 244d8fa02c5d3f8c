//! Whether the containers of a node really have the profiles that their pods were given: by what the kernel's filters do, not
//! by their names.

mod cluster;
mod judge;
mod look;
mod pods;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use self::cluster::{Known, known};
use self::judge::{Judge, Seen};
use self::look::Look;
use self::pods::{Running, running};
use crate::bpf;
use crate::bpf::filters::Filters;
use crate::bpf::kernel::Kernel;
use crate::cluster::ConnectError;
use crate::node::process;
use crate::profile::arch::Arch;

/// A process may be in a container's cgroup for a moment before it has the container's filter: the runtime puts itself there. So
/// long must a thread be seen without one.
const UNFILTERED: Duration = Duration::from_secs(3);
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks, until what may change by itself has to be told as it is.
const MOST_LOOKS: usize = 6;

/// What to verify.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's name.
    pub node: String,
    /// The folder of profiles.
    pub folder: PathBuf,
    /// One pod alone, by namespace and name.
    pub pod: Option<(String, String)>,
}

/// Why nothing can be told.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API server does not tell.
    #[error("cannot list {what}")]
    List {
        /// Objects of which kind.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// There is no such node.
    #[error(
        "the cluster has no node {0:?}: name this one with --node (kubectl get nodes), or set NODE_NAME"
    )]
    Node(String),
    /// There is no such pod here.
    #[error("no pod {0} is on this node")]
    Pod(String),
    /// The kernel does not tell.
    #[error(transparent)]
    Kernel(#[from] bpf::Error),
    /// The processes of the node cannot be seen.
    #[error("cannot look at the processes of this node")]
    Processes(#[source] std::io::Error),
    /// Only a part of the processes can be seen.
    #[error(
        "this is a pid namespace of its own, from which the containers of the node cannot be seen: run it on the node itself, or with hostPID: true"
    )]
    PidNamespace,
    /// The tables of calls do not have it.
    #[error("no table of system calls is known for this machine: {0}")]
    Machine(String),
}

/// What is true of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// What the kernel does to it is not what the profile says.
    Mismatch,
    /// The same, and the profile has changed since it started: it has perhaps an older version.
    Stale,
    /// It cannot be told.
    Unknown,
    /// The pod gives it no profile of ours.
    NoProfile,
    /// All its threads have a filter that does what the profile says.
    Verified,
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its pod's namespace. Hostile text, as all that follow.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// The runtime's id.
    pub id: String,
    /// The profile that its pod gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What is true of it.
    pub state: State,
    /// Why; empty where the state says all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Differences that `reasons` leaves out.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
    /// What else is worth to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The file of a profile that containers here have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// The profile.
    pub profile: String,
    /// Whether the file is what the profile says.
    pub state: FileState,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a file is beside its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum FileState {
    /// It says what the profile says.
    Same,
    /// It says something else.
    Differs,
    /// It is not there.
    Missing,
    /// It cannot be told.
    Unknown,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The node.
    pub node: String,
    /// Its containers, by namespace, pod and name.
    pub containers: Vec<Container>,
    /// The files of their profiles.
    pub files: Vec<File>,
}

impl Report {
    /// Whether something is not as it should be.
    pub fn is_wrong(&self) -> bool {
        let wrong =
            |container: &Container| matches!(container.state, State::Mismatch | State::Stale);
        let differs = |file: &File| matches!(file.state, FileState::Differs | FileState::Missing);
        self.containers.iter().any(wrong) || self.files.iter().any(differs)
    }

    /// Whether something could not be told.
    pub fn is_unknown(&self) -> bool {
        let unknown = |container: &Container| container.state == State::Unknown;
        self.containers.iter().any(unknown)
            || self
                .files
                .iter()
                .any(|file| file.state == FileState::Unknown)
    }

    /// Whether any container has a profile.
    pub fn has_profiles(&self) -> bool {
        let mut containers = self.containers.iter();
        containers.any(|container| container.state != State::NoProfile)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Verifies the containers of this node.
pub async fn verify(settings: &Settings) -> Result<Report, Error> {
    let in_initial = process::in_initial_pid_namespace().map_err(Error::Processes)?;
    if !in_initial {
        return Err(Error::PidNamespace);
    }
    let machine = std::env::consts::ARCH;
    let native = Arch::from_machine(machine).ok_or_else(|| Error::Machine(machine.to_owned()))?;
    let mut filters = Filters::load(&Kernel::probe()?)?;
    let mut judge = Judge::new(native);
    let mut unfiltered = BTreeMap::new();
    for left in (0..MOST_LOOKS).rev() {
        let known = known(settings).await?;
        let look = Look::take(&mut filters, &mut unfiltered)?;
        let (report, may_settle) = judged(settings, &known, &look, &mut judge);
        if left == 0 || !may_settle {
            return Ok(report);
        }
        tokio::time::sleep(PAUSE).await;
    }
    unreachable!("the last look is told")
}

/// What a look says of all containers, and whether another one may say something else.
fn judged(settings: &Settings, known: &Known, look: &Look, judge: &mut Judge) -> (Report, bool) {
    let mut may_settle = false;
    let mut containers = Vec::new();
    for pod in &known.pods {
        for container in running(pod) {
            let Running { name, id, given } = container;
            let seen = Seen::of(look, &id);
            let judgement = judge.judge(&given, known, &seen);
            may_settle |= judgement.may_settle;
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            containers.push(Container {
                namespace: text(&pod.metadata.namespace),
                pod: text(&pod.metadata.name),
                container: name,
                id,
                profile: given.profile().map(str::to_owned),
                state: judgement.state,
                reasons: judgement.reasons,
                more: judgement.more,
                notes: judgement.notes,
            });
        }
    }
    let key = |one: &Container| {
        let Container {
            namespace,
            pod,
            container,
            ..
        } = one;
        (namespace.clone(), pod.clone(), container.clone())
    };
    containers.sort_by_key(key);
    let files: Vec<_> = known
        .profiles
        .iter()
        .map(|(name, expected)| expected.file(name))
        .collect();
    let may_change = |file: &File| matches!(file.state, FileState::Differs | FileState::Missing);
    may_settle |= files.iter().any(may_change);
    let report = Report {
        node: settings.node.clone(),
        containers,
        files,
    };
    (report, may_settle)
}
