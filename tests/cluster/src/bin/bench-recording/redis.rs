//! What a server's requests take.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use spo::bpf::baseline::Baseline;
use spo::bpf::kernel::Kernel;
use tokio::time::sleep;

use crate::world::World;

/// Requests of one measurement, and of what goes before.
const REQUESTS: u32 = 300_000;
const WARMING: u32 = 50_000;
/// Until kubelet, API server and recorder have done what follows a pod's start: it is not what requests cost.
const SETTLE: Duration = Duration::from_secs(4);
/// Clients at a time.
const CLIENTS: u32 = 20;
/// No server makes fewer different calls.
const CALLS: u64 = 20;

/// What is attached while the server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Nothing,
    Empty,
    Another,
    This,
}

const SETTINGS: [Setting; 4] = [
    Setting::Nothing,
    Setting::Empty,
    Setting::Another,
    Setting::This,
];

/// Microseconds a request, a sample each round.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Samples {
    pub(crate) nothing: Vec<f64>,
    pub(crate) empty: Vec<f64>,
    pub(crate) another: Vec<f64>,
    pub(crate) this: Vec<f64>,
}

pub(crate) async fn measure(world: &World, rounds: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for round in 0..rounds {
        // Another order each time, so that no setting always follows the same one.
        for turn in 0..SETTINGS.len() {
            let setting = SETTINGS[(turn + round) % SETTINGS.len()];
            let taken = one(world, setting).await;
            let taken = taken.with_context(|| format!("{setting:?}"))?;
            match setting {
                Setting::Nothing => samples.nothing.push(taken),
                Setting::Empty => samples.empty.push(taken),
                Setting::Another => samples.another.push(taken),
                Setting::This => samples.this.push(taken),
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    Ok(samples)
}

async fn one(world: &World, setting: Setting) -> Result<f64> {
    let recording = match setting {
        Setting::Nothing | Setting::Empty => None,
        Setting::Another => Some(world.record("another").await?),
        Setting::This => Some(world.record("measured").await?),
    };
    let baseline = match setting {
        Setting::Empty => Some(Baseline::start(&Kernel::probe()?)?),
        _ => None,
    };
    if setting == Setting::Another {
        world.start(&another()).await?;
    }
    let address = world.start(&server()).await?;
    ask(world, &address, WARMING).await?;
    sleep(SETTLE).await;
    let rate = ask(world, &address, REQUESTS).await?;
    drop(baseline);
    // A measurement of a recorder that did not record would be worthless.
    if let Some(recording) = &recording {
        let calls = if setting == Setting::This { CALLS } else { 1 };
        recording.has(1, calls).await?;
    }
    world.end("measured").await?;
    if setting == Setting::Another {
        world.end("another").await?;
    }
    if let Some(recording) = recording {
        recording.end().await?;
    }
    Ok(1e6 / rate)
}

fn server() -> Value {
    let mut pod = spo_cluster_tests::node::pod("measured", "");
    pod["metadata"]["labels"] = json!({ "app": "measured" });
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!("localhost/redis:test");
    container["command"] = json!(["/redis-server", "--protected-mode", "no", "--save", "",]);
    container["workingDir"] = json!("/tmp");
    pod
}

/// A pod that does little.
fn another() -> Value {
    let mut pod = spo_cluster_tests::node::pod("another", "while :; do sleep 1; done");
    pod["metadata"]["labels"] = json!({ "app": "another" });
    pod
}

/// Asks as many times; requests a second.
async fn ask(world: &World, address: &str, requests: u32) -> Result<f64> {
    let client = std::env::var("REDIS_BENCHMARK").unwrap_or_else(|_| "redis-benchmark".to_owned());
    // The server may not listen yet.
    world
        .until("the server is asked", async || {
            let output = world
                .node
                .inside(&client)
                .args(["-h", address, "-t", "get", "--csv"])
                .args(["-n", &requests.to_string(), "-c", &CLIENTS.to_string()])
                .output()
                .context("failed to run redis-benchmark")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{said}");
            Ok(rate(&String::from_utf8_lossy(&output.stdout)))
        })
        .await
}

/// Such as of `"GET","99502.48"`.
fn rate(said: &str) -> Option<f64> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("\"GET\",\""))?;
    line.split('"').next()?.parse().ok()
}
