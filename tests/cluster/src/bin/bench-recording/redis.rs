//! What a server's requests take.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use spo::bpf::baseline::Baseline;
use spo::bpf::kernel::Kernel;
use tokio::time::sleep;

use crate::world::World;

/// Requests of one part of a measurement, and of what goes before.
const REQUESTS: u32 = 40_000;
const WARMING: u32 = 50_000;
/// Parts of a measurement. The fastest counts: what else the machine does only ever adds to it.
const PARTS: usize = 12;
/// Until kubelet, API server and recorder have done what follows a pod's start: it is not what requests cost.
const SETTLE: Duration = Duration::from_secs(4);
/// Clients at a time.
const CLIENTS: u32 = 20;
/// No server makes fewer different calls.
const CALLS: u64 = 20;

/// What is attached while a server is asked that is recorded no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Nothing,
    Empty,
    Another,
}

const SETTINGS: [Setting; 3] = [Setting::Nothing, Setting::Empty, Setting::Another];

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
        // All settings of a round meet the same server: where its memory lies makes more of a difference
        // than what is attached. It is recorded first, as it must begin under its recording.
        let recording = world.record("measured").await?;
        let address = world.start(&server()).await?;
        ask(world, &address, WARMING).await?;
        samples.this.push(fastest(world, &address).await?);
        // A measurement of a recorder that did not record would be worthless.
        recording.has(1, CALLS).await?;
        recording.end().await?;
        // Another order each time, so that no setting always follows the same one.
        for turn in 0..SETTINGS.len() {
            let setting = SETTINGS[(turn + round) % SETTINGS.len()];
            let taken = with(world, setting, &address).await;
            let taken = taken.with_context(|| format!("{setting:?}"))?;
            match setting {
                Setting::Nothing => samples.nothing.push(taken),
                Setting::Empty => samples.empty.push(taken),
                Setting::Another => samples.another.push(taken),
            }
        }
        world.end("measured").await?;
        eprintln!("round {} of {rounds}", round + 1);
    }
    Ok(samples)
}

async fn with(world: &World, setting: Setting, address: &str) -> Result<f64> {
    match setting {
        Setting::Nothing => fastest(world, address).await,
        Setting::Empty => {
            let baseline = Baseline::start(&Kernel::probe()?)?;
            let taken = fastest(world, address).await;
            drop(baseline);
            taken
        }
        Setting::Another => {
            let recording = world.record("another").await?;
            world.start(&another()).await?;
            let taken = fastest(world, address).await?;
            recording.has(1, 1).await?;
            world.end("another").await?;
            recording.end().await?;
            Ok(taken)
        }
    }
}

/// Microseconds a request, in the fastest part of a measurement.
async fn fastest(world: &World, address: &str) -> Result<f64> {
    sleep(SETTLE).await;
    let mut rate = 0.0_f64;
    for _ in 0..PARTS {
        rate = rate.max(ask(world, address, REQUESTS).await?);
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
