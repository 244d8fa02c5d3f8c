//! A thousand profiles on one node, and a daemon that finds them there.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use spo_cluster_tests::meter::{Memory, count};

use crate::watched::Watched;
use crate::world::{DAEMON, OPERATOR, PROFILES, World, is_installed};

pub(crate) const COUNT: usize = 1000;
/// Requests of the one who applies them.
const AT_ONCE: usize = 16;

#[derive(Debug, Serialize)]
pub(crate) struct Many {
    pub(crate) profiles: usize,
    /// From the first request to the last answer.
    pub(crate) applied_seconds: f64,
    /// From the first request to the last profile that says that it is installed.
    pub(crate) installed_seconds: f64,
    /// By account, verb and resource.
    pub(crate) requests: BTreeMap<String, BTreeMap<String, usize>>,
    /// Without leases, watches that go on, and events, which have a budget of their own.
    pub(crate) requests_per_profile: f64,
    pub(crate) daemon_requests_per_profile: f64,
    pub(crate) memory: BTreeMap<String, Memory>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Restart {
    /// From its start until it installs a new profile, after all that were there.
    pub(crate) seconds: f64,
    pub(crate) requests: BTreeMap<String, usize>,
    pub(crate) memory: Memory,
}

pub(crate) async fn measure(world: &mut World) -> Result<Many> {
    let mut profiles = Watched::objects(&world.admin, PROFILES, "installed", is_installed).await?;
    let mark = world.quiet().await?;
    let start = Instant::now();
    let names: Vec<_> = (0..COUNT).map(|number| format!("many-{number}")).collect();
    stream::iter(&names)
        .map(|name| world.apply(name))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let applied = start.elapsed();
    let mut last = start;
    for name in &names {
        last = last.max(profiles.when(name).await?);
    }
    world.quiet().await?;
    let asked = world.audit.since(mark)?;
    let written = |account: &str| {
        let of = asked.iter().filter(|asked| asked.account() == account);
        of.filter(|asked| !asked.is_upkeep() && asked.resource() != "events")
            .count()
    };
    let daemon = written(DAEMON);
    Ok(Many {
        profiles: COUNT,
        applied_seconds: applied.as_secs_f64(),
        installed_seconds: (last - start).as_secs_f64(),
        requests_per_profile: per_profile(daemon + written(OPERATOR)),
        daemon_requests_per_profile: per_profile(daemon),
        requests: count(&asked),
        memory: world.memory()?,
    })
}

/// Ends the daemon, and starts another.
pub(crate) async fn restart(world: &mut World) -> Result<Restart> {
    let mut files = Watched::files(&world.root)?;
    let mark = world.quiet().await?;
    world.restart_daemon().await?;
    let start = Instant::now();
    world.apply("after-restart").await?;
    let installed = files.when("after-restart.json").await?;
    world.quiet().await?;
    let asked = world.audit.since(mark)?;
    let own = asked.iter().filter(|asked| asked.account() == DAEMON);
    let requests = count(own).remove(DAEMON).unwrap_or_default();
    Ok(Restart {
        seconds: (installed - start).as_secs_f64(),
        requests,
        memory: Memory::of(world.daemon.id())?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn per_profile(requests: usize) -> f64 {
    requests as f64 / COUNT as f64
}
