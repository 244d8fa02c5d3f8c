//! The recorder of a node: records the containers that recordings of the cluster ask for, by what a
//! [source](Source) tells of them.
//!
//! One task has the [state machine](crate::recorder::cluster) and the source. What happens in the
//! cluster it is told by watches, and what is to be written it gives to another task, so that it never
//! waits for the API server.

mod source;
mod state;
mod work;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::source::{Failure, Source};
pub(super) use self::state::number;
use self::state::{State, gauges, ready};
use self::work::Recorder;
use super::stop_on_signals;
use super::telling::{Places, TellError, tell};
use crate::cluster::error::told;
use crate::cluster::events::Events;
use crate::cluster::{ConnectError, connect};
use crate::controller::recorder::{Scope, Sight, Writer, handed_in};
use crate::node::process;
use crate::profile::arch::Arch;
use crate::profile::base::BASE_SYSCALLS;
use crate::profile::named::Named as _;
use crate::recorder::cluster::Node;
use crate::telemetry::metrics::Metrics;

/// How long the last answer of the API server may take when nobody waits for it any more.
const LAST: Duration = Duration::from_secs(2);

/// What a recorder has to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the node that it runs on.
    pub node: String,
    /// The operator's namespace.
    pub namespace: String,
    /// Whether only pods with a label of their own are recorded.
    pub labelled: bool,
    /// Where it tells about itself.
    pub places: Places,
}

/// Why a recorder ended that was not asked to.
#[derive(Debug, Error)]
pub enum RecorderError {
    /// No cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It cannot tell about itself.
    #[error(transparent)]
    Tell(#[from] TellError),
    /// The kernel does not say what it is.
    #[error("cannot find out what kernel this is")]
    Kernel(#[source] io::Error),
    /// There is no table of its system calls.
    #[error("the architecture {0} is not supported: its system calls are in no table")]
    Architecture(String),
    /// Signals cannot be taken.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// Two metrics have one name.
    #[error("cannot set up metrics")]
    Metrics(#[from] prometheus::Error),
    /// A part of it failed.
    #[error("a part of the recorder failed")]
    Part(#[from] JoinError),
    /// What the source has cannot be read.
    #[error("cannot look at what containers did")]
    Source(#[source] Failure),
    /// Nobody tells when there is something.
    #[error("cannot wait for what containers do")]
    Wait(#[source] io::Error),
}

/// Runs until it is asked to end (SIGTERM, SIGINT). What was recorded is written first.
pub(super) async fn run<S: Source>(
    options: Options,
    settings: S::Settings,
) -> Result<(), RecorderError> {
    let Options {
        node,
        namespace,
        labelled,
        places,
    } = options;
    let stop = stop_on_signals().map_err(RecorderError::Signals)?;
    let metrics = Arc::new(Metrics::new(&node)?);
    let (kernel, machine) = process::kernel().map_err(RecorderError::Kernel)?;
    let arch = Arch::from_machine(&machine).ok_or(RecorderError::Architecture(machine))?;
    let client = connect().await?;
    let tasks = TaskTracker::new();
    let end = CancellationToken::new();
    let state = Arc::<State>::default();
    tell(
        places,
        client.clone(),
        &metrics,
        ready(state.clone()),
        &tasks,
        &end,
    )
    .await?;
    gauges(&metrics, &state);
    S::gauges(&settings, &metrics);
    let (tell_change, changes) = unbounded_channel();
    let (jobs, job) = unbounded_channel();
    let (done, dones) = unbounded_channel();
    let watches = CancellationToken::new();
    let sight = Sight::new(
        &client,
        Scope {
            node: node.clone(),
            own: namespace.clone(),
            recorder: S::RECORDER,
            labelled,
        },
        &metrics,
        &tell_change,
        &watches,
    );
    let before = handed_in(&client, &node).await.unwrap_or_else(|error| {
        let error = told(&error);
        tracing::warn!(error, "cannot find out what was handed in before");
        BTreeSet::new()
    });
    let events = Events::new(client.clone(), &node, metrics.events_over_budget());
    let writer = Writer::new(client, node.clone(), events);
    let writing = tokio::spawn(writer.run(job, done));
    tracing::info!(node, namespace, "the recorder begins");
    let machine = Node {
        name: node,
        arch,
        kernel,
        base: BASE_SYSCALLS.map(str::to_owned).to_vec(),
        recorder: S::RECORDER.name(),
    };
    let mut recorder = Recorder::<S>::new(machine, settings, sight, jobs, state);
    recorder.handed_in(before);
    let worked = recorder.work(changes, dones, &stop).await;
    // The last sender of jobs is gone.
    if let Ok(ended) = timeout(LAST, writing).await {
        ended?;
    }
    worked?;
    watches.cancel();
    end.cancel();
    tasks.close();
    tasks.wait().await;
    tracing::info!("the recorder ends");
    Ok(())
}
