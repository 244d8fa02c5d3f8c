//! The operator: one of its replicas leads, and keeps what profiles say of themselves.

use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use kube::Client;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stop_on_signals;
use super::telling::{Places, tell};
use crate::cluster::election::{ENDING, Election, Kept, Standing};
use crate::cluster::watch::store;
use crate::cluster::{connect, events::Events};
use crate::controller::{binding, certificates, config, nodes, recording, status};
use crate::telemetry::metrics::Metrics;

/// The lease that the leader holds.
const LEASE: &str = "security-profiles-operator-lock";

/// What an operator has to know of itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace that it runs in.
    pub namespace: String,
    /// A name that no other replica has: that of its pod.
    pub identity: String,
    /// The kubelet's folder, on the nodes.
    pub kubelet: String,
    /// Whether the webhook's objects are managed as well.
    pub webhook: bool,
    /// Where it tells about itself.
    pub places: Places,
}

/// Runs until the process is asked to end. Fails if it may no longer lead: then another replica
/// may already do so, and this one has to begin anew.
pub async fn run(options: Options) -> Result<()> {
    let stop = stop_on_signals().context("failed to wait for signals")?;
    let client = connect().await?;
    let Options {
        namespace,
        identity,
        places,
        ..
    } = options.clone();
    let metrics = Arc::new(Metrics::new("")?);
    let election = Election::new(client.clone(), &namespace, LEASE, identity.clone());
    let tasks = TaskTracker::new();
    let end = CancellationToken::new();
    let standing = election.standing();
    let ready = move || match *standing.borrow() {
        Standing::Unknown => Err(format!(
            "the lease {LEASE} could not be read; the log says why"
        )),
        Standing::Waits | Standing::Leads => Ok(()),
    };
    tell(places, client.clone(), &metrics, ready, &tasks, &end).await?;
    let standing = election.standing();
    let leads = move || f64::from(u8::from(*standing.borrow() == Standing::Leads));
    metrics.gauge("leads", "Whether this replica leads: 1, or 0.", leads);
    tracing::info!(identity, "waiting to lead");
    let ended = take_part(client, options, &election, metrics, &stop).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
    ended
}

/// Leads when it can, until it has to end.
async fn take_part(
    client: Client,
    options: Options,
    election: &Election,
    metrics: Arc<Metrics>,
    stop: &CancellationToken,
) -> Result<()> {
    if !election.win(stop).await {
        return Ok(());
    }
    tracing::info!("leading");
    let work = CancellationToken::new();
    let leading = Box::pin(lead(client, options, metrics, work.clone()));
    let outcome = while_kept(election.keep(stop), leading, work).await;
    if outcome == (Kept::Asked, Ended::InTime) {
        election.give_back().await;
    }
    match outcome {
        (Kept::Asked, Ended::InTime) => Ok(()),
        (Kept::Asked, Ended::Cut) => bail!(
            "what the leader does did not end within {ENDING:?}, and is cut; others wait until the lease {LEASE} runs out"
        ),
        (Kept::Lost, _) => bail!("the lease {LEASE} was lost: another replica may lead now"),
    }
}

/// How what the leader does ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    InTime,
    /// It waited for something, such as an answer of the API server, and was dropped.
    Cut,
}

/// Leads as long as the lease is kept, and returns when that has ended: nothing is written for it
/// afterwards.
async fn while_kept(
    keep: impl Future<Output = Kept>,
    leading: impl Future<Output = ()>,
    work: CancellationToken,
) -> (Kept, Ended) {
    let mut leading = pin!(leading);
    let kept = tokio::select! {
        kept = keep => kept,
        // Nobody asked it to end.
        () = leading.as_mut() => return (Kept::Lost, Ended::InTime),
    };
    work.cancel();
    match tokio::time::timeout(ENDING, leading).await {
        Ok(()) => (kept, Ended::InTime),
        Err(_) => (kept, Ended::Cut),
    }
}

async fn lead(client: Client, options: Options, metrics: Arc<Metrics>, stop: CancellationToken) {
    let Options {
        namespace,
        identity,
        kubelet,
        webhook,
        places: _,
    } = options;
    let events = || Events::new(client.clone(), &identity, metrics.events_over_budget());
    let status = status::Context {
        events: events(),
        metrics: metrics.clone(),
        client: client.clone(),
        namespace: namespace.clone(),
    };
    let recording = recording::Context {
        events: events(),
        metrics: metrics.clone(),
        client: client.clone(),
    };
    let (pods, writer) = store();
    let config = config::Context {
        events: events(),
        metrics: metrics.clone(),
        client: client.clone(),
        namespace: namespace.clone(),
        kubelet,
        webhook,
        pods: pods.clone(),
    };
    let nodes = nodes::Context {
        events: events(),
        metrics: metrics.clone(),
        client: client.clone(),
        namespace: namespace.clone(),
    };
    let binding = binding::Context {
        events: events(),
        client: client.clone(),
        namespace: namespace.clone(),
        metrics: metrics.clone(),
    };
    tokio::join!(
        binding::run(Arc::new(binding), stop.clone()),
        certificates::run(client, namespace, metrics.clone(), stop.clone()),
        status::run(Arc::new(status), stop.clone()),
        config::run(Arc::new(config), stop.clone()),
        recording::run(Arc::new(recording), stop.clone()),
        nodes::run(Arc::new(nodes), pods, writer, stop),
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    /// What happened, in this order.
    async fn ended(kept: Kept, to_end: Duration) -> (Vec<&'static str>, (Kept, Ended)) {
        let log = Mutex::new(Vec::new());
        let note = |what| log.lock().unwrap().push(what);
        let work = CancellationToken::new();
        let stop = work.clone();
        let leading = async {
            stop.cancelled().await;
            tokio::time::sleep(to_end).await;
            note("ended");
        };
        let keep = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            note("kept until now");
            kept
        };
        let outcome = while_kept(keep, leading, work).await;
        note("may be given back");
        (log.into_inner().unwrap(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn what_leads_ends_before_the_lease_is_given_back() {
        let (log, outcome) = ended(Kept::Asked, ENDING / 2).await;
        assert_eq!(log, ["kept until now", "ended", "may be given back"]);
        assert_eq!(outcome, (Kept::Asked, Ended::InTime));
    }

    #[tokio::test]
    async fn what_ends_by_itself_is_no_good_end() {
        let work = CancellationToken::new();
        let outcome = while_kept(std::future::pending(), async {}, work).await;
        assert_eq!(outcome, (Kept::Lost, Ended::InTime));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_cut() {
        for kept in [Kept::Asked, Kept::Lost] {
            let (log, outcome) = ended(kept, Duration::from_hours(1)).await;
            assert_eq!(log, ["kept until now", "may be given back"]);
            assert_eq!(outcome, (kept, Ended::Cut));
        }
    }
}
