//! What a node's recorder does while it records many containers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use spo_cluster_tests::meter::{Memory, count, cpu};

use crate::world::World;

const PODS: u64 = 10;
const CONTAINERS: u64 = 10;
/// How long what began is waited for, and how long it is measured.
const SETTLED: Duration = Duration::from_secs(20);
const MEASURED: Duration = Duration::from_mins(1);

#[derive(Debug, Serialize)]
pub(crate) struct Many {
    /// With programs attached, and nothing recorded yet.
    pub(crate) before: Memory,
    pub(crate) memory: Memory,
    /// Of one CPU.
    pub(crate) cores: f64,
    /// Of the recorder and of the daemon, meanwhile.
    pub(crate) requests: BTreeMap<String, usize>,
}

pub(crate) async fn measure(world: &World) -> Result<Many> {
    let recording = world.record("many").await?;
    let recorder = world.recorder()?;
    let before = Memory::of(recorder)?;
    for number in 0..PODS {
        world.start(&pod(number)).await?;
    }
    recording.has(PODS * CONTAINERS, 1).await?;
    tokio::time::sleep(SETTLED).await;
    let (mark, used, begin) = (world.audit.mark()?, cpu(recorder)?, Instant::now());
    tokio::time::sleep(MEASURED).await;
    let used = cpu(recorder)?.saturating_sub(used);
    let cores = used.as_secs_f64() / begin.elapsed().as_secs_f64();
    let asked = world.audit.since(mark)?;
    let requests = count(asked.iter().filter(|asked| !asked.is_upkeep()));
    let many = Many {
        before,
        memory: Memory::of(recorder)?,
        cores,
        requests: requests.into_values().next().unwrap_or_default(),
    };
    for number in 0..PODS {
        world.end(&format!("many-{number}")).await?;
    }
    recording.end().await?;
    Ok(many)
}

/// Each of its containers starts two programs a second.
fn pod(number: u64) -> Value {
    let script = "while :; do ls / > /dev/null; sleep 1; done";
    let mut pod = spo_cluster_tests::node::pod(&format!("many-{number}"), script);
    pod["metadata"]["labels"] = json!({ "app": "many" });
    let one = pod["spec"]["containers"][0].take();
    let containers = (0..CONTAINERS).map(|number| {
        let mut one = one.clone();
        one["name"] = json!(format!("c{number}"));
        one
    });
    pod["spec"]["containers"] = containers.collect();
    pod
}
