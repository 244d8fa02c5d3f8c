//! The daemon of a node.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::task::JoinError;

use super::{health, stop_on_signals};
use crate::cluster::{ConnectError, connect};
use crate::controller::seccomp;
use crate::node::profiles::Profiles;
use crate::node::seccomp::actions;
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
    /// Where to say that it is alive.
    pub health: SocketAddr,
    /// Whether seccomp profiles are installed.
    pub with_seccomp: bool,
}

/// Why a daemon ended that was not asked to.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// No cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The address is taken, or is not ours.
    #[error("cannot listen at {address}, where the node asks whether this is alive")]
    Health {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The kernel does not say what it can.
    #[error("cannot find out what the kernel's seccomp filters can do")]
    Kernel(#[source] io::Error),
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
        health: address,
        with_seccomp,
    } = options;
    let stop = stop_on_signals().map_err(DaemonError::Signals)?;
    let listener = health::listen(address)
        .await
        .map_err(|source| DaemonError::Health { address, source })?;
    let metrics = Arc::new(Metrics::new(&node)?);
    let client = connect().await?;
    let healthy = tokio::spawn(health::serve(listener, stop.clone()));
    tracing::info!(node, namespace, root = %root.display(), "the daemon begins");
    if with_seccomp {
        let settings = seccomp::Settings {
            client,
            node,
            namespace,
            configuration,
            folder: Arc::new(Profiles::at(root)),
            actions: actions().map_err(DaemonError::Kernel)?,
            metrics,
        };
        seccomp::run(settings, stop.clone()).await?;
    } else {
        stop.cancelled().await;
    }
    if let Err(error) = healthy.await? {
        tracing::warn!(%error, "health was not served to the end");
    }
    tracing::info!("the daemon ends");
    Ok(())
}
