//! The operator: one of its replicas leads, and keeps what profiles say of themselves.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::stop_on_signals;
use crate::cluster::election::{Election, Kept};
use crate::cluster::{connect, events::Events};
use crate::controller::status;

/// The lease that the leader holds.
const LEASE: &str = "security-profiles-operator-lock";

/// What an operator has to know of itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace that it runs in.
    pub namespace: String,
    /// A name that no other replica has: that of its pod.
    pub identity: String,
}

/// Runs until the process is asked to end. Fails if it may no longer lead: then another replica
/// may already do so, and this one has to begin anew.
pub async fn run(options: Options) -> Result<()> {
    let stop = stop_on_signals().context("failed to wait for signals")?;
    let client = connect().await?;
    let Options {
        namespace,
        identity,
    } = options;
    let election = Election::new(client.clone(), &namespace, LEASE, identity.clone());
    tracing::info!(identity, "waiting to lead");
    if !election.win(&stop).await {
        return Ok(());
    }
    tracing::info!(identity, "leading");
    let work = CancellationToken::new();
    let lead = lead(client, &namespace, &identity, work.clone());
    let keep = async {
        let kept = election.keep(&stop).await;
        // What leads ends before the lease is given back, or at once if it is lost.
        work.cancel();
        kept
    };
    match tokio::join!(lead, keep) {
        ((), Kept::GivenBack) => Ok(()),
        ((), Kept::Lost) => bail!("the lease {LEASE} was lost: another replica may lead now"),
    }
}

async fn lead(client: Client, namespace: &str, identity: &str, stop: CancellationToken) {
    let context = status::Context {
        events: Events::new(client.clone(), identity),
        client,
        namespace: namespace.to_owned(),
    };
    status::run(Arc::new(context), stop).await;
}
