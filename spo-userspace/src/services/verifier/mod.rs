//! The verifier of a node: whether its containers have their profiles, all the time.
//!
//! Pods of the node and the folder of profiles tell when they change. What the kernel has tells nobody, so
//! that it is looked at from time to time as well.

mod tell;
mod watches;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::tell::{Numbers, Teller};
use self::watches::{Scope, Watches};
use super::stop_on_signals;
use super::telling::{Places, TellError, tell};
use crate::bpf;
use crate::cluster::events::Events;
use crate::cluster::{ConnectError, connect};
use crate::node::capabilities;
use crate::telemetry::metrics::Metrics;
use crate::verify::{self, Findings, Report, Told, Verifier};

/// Between two looks at least, however much changes.
const LEAST: Duration = Duration::from_secs(5);
/// Between two looks at most.
const MOST: Duration = Duration::from_mins(1);

/// What a verifier has to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the node that it runs on.
    pub node: String,
    /// The operator's namespace.
    pub namespace: String,
    /// The folder of profiles.
    pub folder: PathBuf,
    /// Where it tells about itself.
    pub places: Places,
}

/// Why a verifier ended that was not asked to.
#[derive(Debug, Error)]
pub enum VerifierError {
    /// No cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It cannot tell about itself.
    #[error(transparent)]
    Tell(#[from] TellError),
    /// Signals cannot be taken.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// Two metrics have one name.
    #[error("cannot set up metrics")]
    Metrics(#[from] prometheus::Error),
    /// A part of it failed.
    #[error("a part of the verifier failed")]
    Part(#[from] JoinError),
}

/// Why a look told nothing.
#[derive(Debug, Error)]
enum LookError {
    #[error("the verifier's container lacks {0}")]
    Lacks(String),
    #[error(transparent)]
    Verify(#[from] verify::Error),
}

/// Runs until it is asked to end (SIGTERM, SIGINT).
pub async fn run(options: Options) -> Result<(), VerifierError> {
    let Options {
        node,
        namespace,
        folder,
        places,
    } = options;
    let stop = stop_on_signals().map_err(VerifierError::Signals)?;
    let metrics = Arc::new(Metrics::new(&node)?);
    let client = connect().await?;
    let tasks = TaskTracker::new();
    let end = CancellationToken::new();
    let sees = Arc::new(AtomicBool::new(false));
    let ready = {
        let sees = sees.clone();
        move || {
            if sees.load(Ordering::Relaxed) {
                return Ok(());
            }
            Err("the last look told nothing, or there was none; the log says why".to_owned())
        }
    };
    tell(places, client.clone(), &metrics, ready, &tasks, &end).await?;
    tracing::info!(node, namespace, folder = %folder.display(), "the verifier begins");
    let numbers = Numbers::new(&node, &metrics)?;
    let events = Events::new(client.clone(), &node, metrics.events_over_budget());
    let scope = Scope {
        node: node.clone(),
        namespace,
        folder: folder.clone(),
    };
    let watches = Watches::start(&client, &scope, &metrics, &end);
    let mut eye = Eye {
        node,
        folder,
        verifier: None,
    };
    let mut teller = Teller::new(numbers, events);
    let mut findings = Findings::default();
    let mut may_settle = false;
    if watches.complete(&stop).await {
        loop {
            let told = watches.told();
            let (back, told, report) = look(eye, told).await?;
            eye = back;
            sees.store(report.is_ok(), Ordering::Relaxed);
            let again = match report {
                Ok((report, settles)) => {
                    let turn = findings.take(&report);
                    teller.tell(&report, &turn, &told, &metrics).await;
                    // Where something short-lived is always about, it never settles.
                    let was = std::mem::replace(&mut may_settle, settles);
                    turn.again || settles && !was
                }
                Err(error) => {
                    teller.failed(&error, &told);
                    false
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(LEAST) => {}
            }
            if again {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = watches.changed() => {}
                () = sleep(MOST.saturating_sub(LEAST)) => {}
            }
        }
    }
    end.cancel();
    tasks.close();
    tasks.wait().await;
    watches.ended().await;
    tracing::info!("the verifier ends");
    Ok(())
}

/// Looks at the node. What it needs for that is loaded when it is needed, and again after it failed.
struct Eye {
    node: String,
    folder: PathBuf,
    verifier: Option<Verifier>,
}

impl Eye {
    /// The answer says as well whether something has only begun.
    fn look(&mut self, told: &Told) -> Result<(Report, bool), LookError> {
        let mut verifier = match self.verifier.take() {
            Some(verifier) => verifier,
            None => self.load()?,
        };
        let seen = verifier.look(told)?;
        self.verifier = Some(verifier);
        Ok(seen)
    }

    fn load(&self) -> Result<Verifier, LookError> {
        let missing = capabilities::missing(&capabilities::TO_RECORD);
        if !missing.is_empty() {
            return Err(LookError::Lacks(missing.join(" and ")));
        }
        let verifier = Verifier::new(self.node.clone(), self.folder.clone())?;
        bpf::memory::give_back();
        tracing::info!("the programs are loaded");
        Ok(verifier)
    }
}

/// It waits for the kernel, and goes through all processes.
async fn look(
    mut eye: Eye,
    told: Told,
) -> Result<(Eye, Told, Result<(Report, bool), LookError>), JoinError> {
    spawn_blocking(move || {
        let seen = eye.look(&told);
        (eye, told, seen)
    })
    .await
}
