//! Nodes that come, fail and leave.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::second::Second;
use crate::world::{PROFILES, World, refuses};

/// What `kubectl get sp` shows of a profile, in its columns of ready and desired nodes.
fn shown(profile: &str) -> Result<String> {
    let said = World::kubectl(&["get", "sp", profile, "--no-headers"])?;
    Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

pub(crate) async fn a_second_node_joins_late_fails_and_leaves(world: &World) -> Result<()> {
    const NAMES: [&str; 3] = ["early-a", "early-b", "early-c"];
    for name in NAMES {
        world.apply(name, &refuses(&["mkdir"])).await?;
        world.installed(name, 1).await?;
    }
    let mut second = Second::join(world, "second-node").await?;
    for name in NAMES {
        world.installed(name, 2).await?;
        ensure!(
            fs::read(second.file(name))? == fs::read(world.file(name))?,
            "{name} is not the same on both"
        );
        let shown = shown(name)?;
        ensure!(shown.ends_with(" 2 2"), "kubectl shows {shown}");
    }

    // One node that fails is told in what is said of all.
    second.kill()?;
    fs::rename(second.root(), second.root().with_file_name("away"))?;
    second.start()?;
    let path = format!("{PROFILES}/early-a");
    let told = world.becomes(&path, "one node fails", |profile| {
        let status = &profile["status"];
        let message = status["conditions"][0]["message"].as_str();
        status["status"] == "Error"
            && status["nodes"] == json!({ "ready": 1, "desired": 2 })
            && message.is_some_and(|message| message.contains("second-node"))
    });
    told.await?;
    fs::rename(second.root().with_file_name("away"), second.root())?;
    world.installed("early-a", 2).await?;

    // It dies while it holds what is deleted: that waits, since the file may still be used there.
    second.kill()?;
    world.delete_profile("early-b").await?;
    let path = format!("{PROFILES}/early-b");
    let held = world.becomes(&path, "held by the dead node", |profile| {
        let message = profile["status"]["conditions"][0]["message"].as_str();
        profile["status"]["status"] == "Terminating"
            && message.is_some_and(|message| message.contains("second-node"))
    });
    held.await?;
    ensure!(second.file("early-b").exists());
    // The node is removed, and holds nothing any more.
    second.leave(world).await?;
    world.gone("early-b").await?;
    for name in ["early-a", "early-c"] {
        world.installed(name, 1).await?;
        let shown = shown(name)?;
        ensure!(shown.ends_with(" 1 1"), "kubectl shows {shown}");
        let statuses = world.statuses(name).await?;
        ensure!(statuses.len() == 1, "{statuses:#?}");
        world.delete_profile(name).await?;
        world.gone(name).await?;
    }
    Ok(())
}

/// The operator removes what a removed node said, and the node's daemon says it again as long as it
/// runs: neither does so as fast as it can.
pub(crate) async fn a_node_that_is_removed_while_its_daemon_runs_is_no_fight(
    world: &World,
) -> Result<()> {
    const WHILE: Duration = Duration::from_secs(10);
    world.apply("fought", &refuses(&["mkdir"])).await?;
    let mut second = Second::join(world, "removed-node").await?;
    world.installed("fought", 2).await?;
    second.leave(world).await?;
    world.installed("fought", 1).await?;
    let log = audit_log()?;
    let before = fs::metadata(&log)?.len();
    tokio::time::sleep(WHILE).await;
    let times = made(second.name, &log, before)?;
    ensure!(times <= 6, "in {WHILE:?}, a status was made {times} times");
    // A profile is deleted in spite of it.
    world.delete_profile("fought").await?;
    world.not_there(&format!("{PROFILES}/fought")).await?;
    second.kill()?;
    world
        .until("nothing is said of it", async || {
            Ok(world.statuses("fought").await?.is_empty().then_some(()))
        })
        .await
}

fn audit_log() -> Result<PathBuf> {
    let about = spo_cluster_tests::node::about()?;
    Ok(about.context("the cluster has no audit log")?.audit_log)
}

/// How often a node made a status, as the audit log has it behind this place.
fn made(node: &str, log: &Path, from: u64) -> Result<usize> {
    let mut file = File::open(log)?;
    ensure!(
        file.metadata()?.len() > from,
        "the audit log was begun anew meanwhile, or has nothing new: run this test again"
    );
    file.seek(SeekFrom::Start(from))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let made = text.lines().filter(|line| {
        line.contains(node)
            && serde_json::from_str::<Value>(line).is_ok_and(|event| {
                event["verb"] == "create"
                    && event["objectRef"]["resource"] == "securityprofilenodestatuses"
            })
    });
    Ok(made.count())
}
