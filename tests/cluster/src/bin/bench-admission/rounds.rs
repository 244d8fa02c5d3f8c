//! The same pod, again and again, in each of the namespaces.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde::Serialize;
use spo_cluster_tests::meter::{count, cpu};
use spo_cluster_tests::objects::{create, send};

use crate::cases::Case;
use crate::world::{World, is_as_expected};

/// So many rounds come before those that count.
const WARM_UP: usize = 10;

#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// Milliseconds to create the pod, one a round; the first case has no webhook.
    pub(crate) cases: Vec<(&'static str, Vec<f64>)>,
    /// What the webhook asked the API server, of all pods together.
    pub(crate) requests: BTreeMap<String, usize>,
    /// Milliseconds that the webhook was on a CPU, of all pods together.
    pub(crate) cpu: u128,
}

pub(crate) async fn measure(world: &World, cases: &[Case], rounds: usize) -> Result<Measured> {
    let webhook = world.webhook.process.id();
    let mut times = vec![Vec::new(); cases.len()];
    let (mut before, mut mark) = (cpu(webhook)?, world.audit.mark()?);
    for round in 0..WARM_UP + rounds {
        if round == WARM_UP {
            (before, mark) = (cpu(webhook)?, world.audit.mark()?);
            times.iter_mut().for_each(Vec::clear);
        }
        if round % 50 == WARM_UP {
            eprintln!("round {} of {rounds}", round - WARM_UP);
        }
        for step in 0..cases.len() {
            // Another one begins each time, and every other round runs backwards.
            let at = (round + step) % cases.len();
            let at = if round % 2 == 0 {
                at
            } else {
                cases.len() - 1 - at
            };
            times[at].push(pod(world, &cases[at]).await?);
        }
    }
    let requests = count(&world.audit.since(mark)?);
    let names = cases.iter().map(|case| case.name);
    Ok(Measured {
        cases: names.zip(times).collect(),
        requests: requests.into_values().next().unwrap_or_default(),
        cpu: cpu(webhook)?.saturating_sub(before).as_millis(),
    })
}

/// Creates the pod, and removes it.
async fn pod(world: &World, case: &Case) -> Result<f64> {
    let path = format!("/api/v1/namespaces/{}/pods", case.namespace);
    let start = Instant::now();
    let made = create(&world.admin, &path, &world.pod).await??;
    let taken = start.elapsed();
    ensure!(is_as_expected(case, &made), "{}: {made:#}", case.name);
    let name = made["metadata"]["name"].as_str().context("no name")?;
    let path = format!("{path}/{name}?gracePeriodSeconds=0");
    send(&world.admin, Method::DELETE, &path, None).await??;
    Ok(taken.as_secs_f64() * 1000.0)
}
