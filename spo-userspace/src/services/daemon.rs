//! The daemon of a node.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stop_on_signals;
use super::telling::{Places, TellError, tell};
use crate::cluster::{ConnectError, connect};
use crate::controller::seccomp::{self, Machine};
use crate::node::entrance::Entrance;
use crate::node::process;
use crate::node::profiles::Profiles;
use crate::node::seccomp::actions;
use crate::profile::arch::Arch;
use crate::telemetry::metrics::Metrics;

/// What a daemon has to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the node that it runs on.
    pub node: String,
    /// The operator's namespace.
    pub namespace: String,
    /// The name of the `SecurityProfilesOperatorDaemon`.
    pub configuration: String,
    /// The folder of profiles.
    pub root: PathBuf,
    /// The kubelet's folder; without it, nobody looks whether the kubelet finds profiles.
    pub kubelet: Option<PathBuf>,
    /// Where it tells about itself.
    pub places: Places,
    /// Whether seccomp profiles are installed.
    pub with_seccomp: bool,
}

/// Why a daemon ended that was not asked to.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// No cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It cannot tell about itself.
    #[error(transparent)]
    Tell(#[from] TellError),
    /// The kernel does not say what it can.
    #[error("cannot find out what the kernel's seccomp filters can do")]
    Kernel(#[source] io::Error),
    /// The kernel does not say what it is.
    #[error("cannot find out what kernel this is")]
    Machine(#[source] io::Error),
    /// Signals cannot be taken.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// Two metrics have one name.
    #[error("cannot set up metrics")]
    Metrics(#[from] prometheus::Error),
    /// A part of it failed.
    #[error("a part of the daemon failed")]
    Part(#[from] JoinError),
}

/// Runs until it is asked to end (SIGTERM, SIGINT). What was begun is finished first.
pub async fn run(options: Options) -> Result<(), DaemonError> {
    let Options {
        node,
        namespace,
        configuration,
        root,
        kubelet,
        places,
        with_seccomp,
    } = options;
    let stop = stop_on_signals().map_err(DaemonError::Signals)?;
    let metrics = Arc::new(Metrics::new(&node)?);
    let client = connect().await?;
    let tasks = TaskTracker::new();
    // It is alive until the work has ended.
    let end = CancellationToken::new();
    let begun = CancellationToken::new();
    let ready = {
        let begun = begun.clone();
        move || match () {
            () if begun.is_cancelled() => Ok(()),
            () => Err("not all profiles were looked at yet".to_owned()),
        }
    };
    tell(places, client.clone(), &metrics, ready, &tasks, &end).await?;
    tracing::info!(node, namespace, root = %root.display(), "the daemon begins");
    if with_seccomp {
        let (kernel, machine) = process::kernel().map_err(DaemonError::Machine)?;
        let architecture = Arch::from_machine(&machine).map_or(machine, |arch| arch.to_string());
        let settings = seccomp::Settings {
            client,
            node,
            namespace,
            configuration,
            entrance: kubelet.map(|kubelet| Entrance::new(&kubelet, root.clone())),
            folder: Arc::new(Profiles::at(root)),
            actions: actions().map_err(DaemonError::Kernel)?,
            machine: Machine {
                architecture,
                kernel,
                ..Machine::default()
            },
            metrics,
            begun,
        };
        seccomp::run(settings, stop.clone()).await?;
    } else {
        begun.cancel();
        stop.cancelled().await;
    }
    end.cancel();
    tasks.close();
    tasks.wait().await;
    tracing::info!("the daemon ends");
    Ok(())
}
