//! One profile after the other: from applying it to its file, and to what is said of it.

use std::time::{Duration, Instant};

use anyhow::Result;
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use spo_cluster_tests::installed::until;
use spo_cluster_tests::objects::{create, send};

use crate::watched::Watched;
use crate::world::{PROFILES, STATUSES, World, is_installed, status_name};

const ROUNDS: usize = 200;

/// Milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) median: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Single {
    pub(crate) rounds: usize,
    /// From making a `ConfigMap` to its being shown by a watch: what the same way costs others now.
    pub(crate) config_map: Times,
    pub(crate) file: Times,
    /// The node says that it has it.
    pub(crate) node_status: Times,
    /// The profile says that it is installed.
    pub(crate) installed: Times,
    /// How many times the yardstick's median until the file is there.
    pub(crate) file_ratio: f64,
    pub(crate) installed_ratio: f64,
}

pub(crate) async fn measure(world: &World) -> Result<Single> {
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let admin = &world.admin;
    let mut maps = Watched::objects(admin, MAPS, "shown", |_| true).await?;
    let mut files = Watched::files(&world.root)?;
    let is = |object: &Value| is_installed(object);
    let mut statuses = Watched::objects(admin, STATUSES, "installed on the node", is).await?;
    let mut profiles = Watched::objects(admin, PROFILES, "installed", is).await?;
    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..ROUNDS {
        let name = format!("one-{round}");
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": name },
            "data": { "content": world.spec.to_string() },
        });
        let start = Instant::now();
        create(admin, MAPS, &map).await??;
        times[0].push(maps.when(&name).await? - start);

        let start = Instant::now();
        world.apply(&name).await?;
        times[1].push(files.when(&format!("{name}.json")).await? - start);
        let status = status_name(&name);
        times[2].push(statuses.when(&status).await? - start);
        times[3].push(profiles.when(&name).await? - start);
    }
    // The thousand that follow are all there are.
    for round in 0..ROUNDS {
        let path = format!("{PROFILES}/one-{round}");
        send(admin, Method::DELETE, &path, None).await??;
    }
    until("the profiles are gone", async || {
        let files = std::fs::read_dir(&world.root)?.filter_map(Result::ok);
        let is_left = |name: &str| name.starts_with("one-");
        let left = files.filter(|file| file.file_name().to_str().is_some_and(is_left));
        Ok(left.count() == 0)
    })
    .await?;
    let [config_map, file, node_status, installed] = times.map(Times::of);
    Ok(Single {
        rounds: ROUNDS,
        file_ratio: file.median / config_map.median,
        installed_ratio: installed.median / config_map.median,
        config_map,
        file,
        node_status,
        installed,
    })
}

impl Times {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        // The smallest that at least so many are no longer than.
        let at = |percent: usize| {
            let index = (all.len() * percent).div_ceil(100).saturating_sub(1);
            all.get(index)
                .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        Self {
            median: at(50),
            p95: at(95),
            p99: at(99),
            most: at(100),
        }
    }
}
