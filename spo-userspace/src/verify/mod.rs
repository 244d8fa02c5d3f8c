//! Whether the containers of a node really have the profiles that their pods were given: by what the kernel's filters do, not
//! by their names.

mod bindings;
mod cluster;
mod findings;
mod judge;
mod look;
mod objects;
mod pods;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

pub use self::bindings::Bindings;
pub use self::findings::{Findings, Turn};
use self::judge::{Judge, Seen};
use self::look::Looks;
pub use self::objects::{Objects, Told};
use self::objects::{containers, expected};
use self::pods::Running;
use crate::bpf;
use crate::bpf::filters::Filters;
use crate::bpf::kernel::Kernel;
use crate::cluster::ConnectError;
use crate::node::process;
use crate::node::profiles::Profiles;
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
    /// The operator's namespace.
    pub namespace: String,
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
    /// A binding is for it, and it has nothing of that.
    Unbound,
    /// As the first, and the profile has changed since it started: it has perhaps an older version. Or the
    /// bindings have changed that gave it the profile.
    Stale,
    /// It cannot be told.
    Unknown,
    /// The pod gives it no profile of ours.
    NoProfile,
    /// All its threads have a filter that does what the profile says.
    Verified,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Mismatch,
        Self::Unbound,
        Self::Stale,
        Self::Unknown,
        Self::NoProfile,
        Self::Verified,
    ];

    /// Whether somebody has to do something.
    pub fn is_wrong(self) -> bool {
        matches!(self, Self::Mismatch | Self::Stale | Self::Unbound)
    }
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

impl FileState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Same, Self::Differs, Self::Missing, Self::Unknown];

    /// Whether somebody has to do something.
    pub fn is_wrong(self) -> bool {
        matches!(self, Self::Differs | Self::Missing)
    }
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
    /// What else could not be looked at, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_looked_at: Vec<String>,
}

impl Report {
    /// Whether something is not as it should be.
    pub fn is_wrong(&self) -> bool {
        self.containers.iter().any(|one| one.state.is_wrong())
            || self.files.iter().any(|one| one.state.is_wrong())
    }

    /// Whether something could not be told.
    pub fn is_unknown(&self) -> bool {
        let unknown = |container: &Container| container.state == State::Unknown;
        !self.not_looked_at.is_empty()
            || self.containers.iter().any(unknown)
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
    let mut verifier = Verifier::new(settings.node.clone(), settings.folder.clone())?;
    for left in (0..MOST_LOOKS).rev() {
        let told = cluster::ask(settings).await?;
        let (report, may_settle) = verifier.look(&told)?;
        if left == 0 || !may_settle {
            return Ok(report);
        }
        tokio::time::sleep(PAUSE).await;
    }
    unreachable!("the last look is told")
}

/// Looks at the containers of this node, as often as somebody asks.
pub struct Verifier {
    node: String,
    folder: Profiles,
    looks: Looks,
    judge: Judge,
}

impl Verifier {
    /// Loads the programs.
    pub fn new(node: String, folder: PathBuf) -> Result<Self, Error> {
        let in_initial = process::in_initial_pid_namespace().map_err(Error::Processes)?;
        if !in_initial {
            return Err(Error::PidNamespace);
        }
        let machine = std::env::consts::ARCH;
        let native =
            Arch::from_machine(machine).ok_or_else(|| Error::Machine(machine.to_owned()))?;
        Ok(Self {
            node,
            folder: Profiles::to_read(folder),
            looks: Looks::new(Filters::load(&Kernel::probe()?)?),
            judge: Judge::new(native),
        })
    }

    /// What is true of all containers, and whether another look may say something else.
    pub fn look(&mut self, told: &Told) -> Result<(Report, bool), Error> {
        let Told {
            pods,
            profiles,
            bindings,
        } = told;
        let running = containers(pods);
        let expected = expected(&running, profiles, &self.folder);
        let ours = running
            .iter()
            .filter(|(_, one)| one.given.profile().is_some());
        let look = self.looks.take(&ours.map(|(_, one)| &*one.id).collect())?;
        let mut may_settle = false;
        let mut containers = Vec::new();
        for (pod, container) in running {
            let mut judgement =
                self.judge
                    .judge(&container.given, &expected, &Seen::of(&look, &container.id));
            let of_pod = bindings.as_ref().ok().and_then(|all| all.of_pod(pod));
            if let Some(of_pod) = of_pod {
                judgement.bind(of_pod.lack(&container));
            }
            may_settle |= judgement.may_settle;
            let Running {
                name, id, given, ..
            } = container;
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
        let files = expected.iter().map(|(name, one)| one.file(name));
        let files: Vec<_> = files.collect();
        may_settle |= files.iter().any(|file| file.state.is_wrong());
        let report = Report {
            node: self.node.clone(),
            containers,
            files,
            not_looked_at: not_looked_at(bindings),
        };
        Ok((report, may_settle))
    }
}

fn not_looked_at(bindings: &Result<Bindings, String>) -> Vec<String> {
    match bindings {
        Err(why) => vec![why.clone()],
        Ok(bindings) => match bindings.unread() {
            0 => Vec::new(),
            1 => vec![
                "whom 1 ProfileBinding is for: it cannot be read, or not be used as it is"
                    .to_owned(),
            ],
            count => vec![format!(
                "whom {count} ProfileBindings are for: they cannot be read, or not be used as they are"
            )],
        },
    }
}
