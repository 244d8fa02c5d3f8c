//! What is done when nothing is to be done.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use spo_cluster_tests::meter::{count, cpu};

use crate::world::World;

#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) seconds: u64,
    /// By account, verb and resource.
    pub(crate) requests: BTreeMap<String, BTreeMap<String, usize>>,
    /// Of them, those that neither keep a lease nor go on watching. There should be none.
    pub(crate) other_requests: usize,
    /// On a CPU, in milliseconds, to ten of them.
    pub(crate) cpu: BTreeMap<String, u64>,
    /// The same for an hour, if it is all like this.
    pub(crate) cpu_of_an_hour: BTreeMap<String, u64>,
}

pub(crate) async fn measure(world: &World, time: Duration) -> Result<Idle> {
    let mark = world.quiet().await?;
    let before = world.each(cpu)?;
    tokio::time::sleep(time).await;
    let after = world.each(cpu)?;
    let asked = world.audit.since(mark)?;
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let cpu: BTreeMap<_, _> = after
        .into_iter()
        .map(|(name, after)| {
            let before = before.get(&name).copied().unwrap_or_default();
            (name, milliseconds(after.saturating_sub(before)))
        })
        .collect();
    let of_an_hour = |used: &u64| used * 3600 / time.as_secs();
    Ok(Idle {
        seconds: time.as_secs(),
        requests: count(&asked),
        other_requests: asked.iter().filter(|asked| !asked.is_upkeep()).count(),
        cpu_of_an_hour: cpu
            .iter()
            .map(|(name, used)| (name.clone(), of_an_hour(used)))
            .collect(),
        cpu,
    })
}
