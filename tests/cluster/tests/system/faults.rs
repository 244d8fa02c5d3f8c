//! Whatever breaks, all of it recovers by itself, and nothing is lost or left behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use spo_cluster_tests::objects::get;

use crate::second::Second;
use crate::world::{PODS, World, refuses, skipped, user};

/// How long the API server says nothing.
const SILENCE: Duration = Duration::from_mins(1);
/// How long until nothing is under way any more.
const SETTLED: Duration = Duration::from_secs(5);

/// The folder with the ids of the cluster's processes; a line, if nobody would start again what a
/// test kills.
pub(crate) fn processes(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SPO_RESTARTED").map(PathBuf::from);
    if folder.is_none() {
        skipped(&format!(
            "{what} is killed: nobody starts it again: run cargo xtask test cluster"
        ));
    }
    folder
}

/// A process of the cluster, by the file with its id.
pub(crate) fn process(folder: &Path, name: &str) -> Result<Pid> {
    let text = fs::read_to_string(folder.join(name))?;
    let id = text.split_whitespace().next().context("no id")?;
    Ok(Pid::from_raw(id.parse()?))
}

pub(crate) async fn a_daemon_that_is_killed_goes_on(world: &World) -> Result<()> {
    world.apply("killed", &refuses(&["mkdir"])).await?;
    world.installed("killed", 1).await?;
    for round in 0..2 {
        // In the middle of whatever it does with these.
        let calls = ["mkdir".to_owned(), format!("call{round}")];
        let calls: Vec<_> = calls.iter().map(String::as_str).collect();
        world.apply("killed", &refuses(&calls)).await?;
        for id in world.node.processes("daemon")? {
            kill(Pid::from_raw(id), Signal::SIGKILL)?;
        }
        world.installed("killed", 1).await?;
        let content: Value = serde_json::from_slice(&fs::read(world.file("killed"))?)?;
        ensure!(content["syscalls"][0]["names"] == json!(calls), "{content}");
    }
    world.delete_profile("killed").await?;
    world.gone("killed").await
}

pub(crate) async fn a_folder_that_is_removed_is_set_up_again(world: &World) -> Result<()> {
    for name in ["kept-a", "kept-b"] {
        world.apply(name, &refuses(&["mkdir"])).await?;
        world.installed(name, 1).await?;
    }
    let before = get(&world.admin, &format!("{PODS}?labelSelector=name%3Dspod")).await?;
    let before = before.context("no pods")?["items"][0]["metadata"]["uid"].clone();
    world
        .until("the folder is gone", async || {
            // The daemon may be putting a file back.
            match fs::remove_dir_all(world.folder()) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(None),
                removed => Ok(Some(removed?)),
            }
        })
        .await?;
    world
        .until("another pod of the daemon", async || {
            let pods = get(&world.admin, &format!("{PODS}?labelSelector=name%3Dspod")).await?;
            let pods = pods.context("no pods")?;
            let pods = pods["items"].as_array().context("no pods")?;
            let new = pods.iter().all(|pod| pod["metadata"]["uid"] != before);
            Ok((new && !pods.is_empty()).then_some(()))
        })
        .await?;
    for name in ["kept-a", "kept-b"] {
        world.installed(name, 1).await?;
        world
            .until("the file is there", async || {
                Ok(world.file(name).exists().then_some(()))
            })
            .await?;
    }
    world.runs().await?;
    // Whoever is bound by them finds them where it always did.
    world.runs_pod(&user("after-removal", "kept-a")).await?;
    world.end_pod("after-removal").await?;

    // The disk of another node is full.
    let mut second = Second::join(world, "full-node").await?;
    world.installed("kept-a", 2).await?;
    second.fill()?;
    let many: Vec<_> = (0..2000).map(|number| format!("call{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    world.apply("kept-a", &refuses(&many)).await?;
    let profile = world.is("kept-a", "Error").await?;
    let message = &profile["status"]["conditions"][0]["message"];
    ensure!(message.to_string().contains("full-node"), "{message}");
    second.clear()?;
    world.installed("kept-a", 2).await?;
    second.kill()?;
    second.leave(world).await?;
    for name in ["kept-a", "kept-b"] {
        world.delete_profile(name).await?;
        world.gone(name).await?;
    }
    Ok(())
}

/// The link through which the kubelet finds profiles, and the daemon's own profile beside it.
pub(crate) async fn what_the_kubelet_does_not_find_is_set_up_again(world: &World) -> Result<()> {
    world.apply("linked", &refuses(&["mkdir"])).await?;
    world.installed("linked", 1).await?;
    let seccomp = world.root().join("var/lib/kubelet/seccomp");
    let (link, own) = (
        seccomp.join("operator"),
        seccomp.join("security-profiles-operator.json"),
    );
    let (target, profile) = (fs::read_link(&link)?, fs::read(&own)?);

    // What is not ours stays, and so does the daemon, which says so.
    fs::remove_file(&link)?;
    fs::create_dir(&link)?;
    fs::write(link.join("theirs"), "")?;
    let said = world.is("linked", "Error").await?;
    let said = said["status"]["conditions"][0]["message"].to_string();
    ensure!(said.contains("is no link"), "{said}");
    let daemons = daemons(world).await?;
    tokio::time::sleep(SETTLED).await;
    ensure!(link.join("theirs").exists());
    ensure!(self::daemons(world).await? == daemons, "it begins anew");

    // Out of the way, and all of it is set up again, at once: a node is, every two minutes at most.
    fs::remove_file(&own)?;
    fs::remove_dir_all(&link)?;
    world
        .until(
            "the link and the daemon's own profile are there",
            async || {
                let link = fs::read_link(&link).is_ok_and(|found| found == target);
                let own = fs::read(&own).is_ok_and(|found| found == profile);
                Ok((link && own).then_some(()))
            },
        )
        .await?;
    world.installed("linked", 1).await?;
    world.runs().await?;
    world.runs_pod(&user("after-link", "linked")).await?;
    world.end_pod("after-link").await?;
    world.delete_profile("linked").await?;
    world.gone("linked").await
}

/// Which pods of the daemon there are.
async fn daemons(world: &World) -> Result<Vec<Value>> {
    let pods = get(&world.admin, &format!("{PODS}?labelSelector=name%3Dspod")).await?;
    let pods = pods.context("no pods")?;
    let pods = pods["items"].as_array().context("no pods")?;
    Ok(pods
        .iter()
        .map(|pod| pod["metadata"]["uid"].clone())
        .collect())
}

pub(crate) async fn an_api_server_that_is_killed_is_waited_for(world: &World) -> Result<()> {
    is_waited_for(world, "kube-apiserver", None).await
}

pub(crate) async fn an_etcd_that_is_killed_is_waited_for(world: &World) -> Result<()> {
    is_waited_for(world, "etcd", None).await
}

/// Connections stay, and nothing comes through them.
pub(crate) async fn a_minute_of_silence_is_made_up_for(world: &World) -> Result<()> {
    is_waited_for(world, "kube-apiserver", Some(SILENCE)).await
}

/// Kills a process of the cluster, or stops it for a while; before that, much is asked for at once.
async fn is_waited_for(world: &World, name: &str, silence: Option<Duration>) -> Result<()> {
    let Some(folder) = processes(name) else {
        return Ok(());
    };
    for profile in ["used", "changed", "deleted"] {
        world.apply(profile, &refuses(&["mkdir"])).await?;
        world.installed(profile, 1).await?;
    }
    world.runs_pod(&user("bound", "used")).await?;
    world.delete_profile("used").await?;
    world.is("used", "Terminating").await?;
    world.apply("made", &refuses(&["mkdir"])).await?;
    world.apply("changed", &refuses(&["rmdir"])).await?;
    world.delete_profile("deleted").await?;
    let id = process(&folder, name)?;
    if let Some(silence) = silence {
        // A daemon in the middle of saying what became of this very file would wait for an answer,
        // 20 s for a status and as long for an event, and look at the file only then.
        tokio::time::sleep(SETTLED).await;
        kill(id, Signal::SIGSTOP)?;
        // Files are kept in order meanwhile.
        let used = world.file("used");
        let right = fs::read(&used)?;
        let removed = fs::remove_file(&used);
        tokio::time::sleep(silence).await;
        let repaired = fs::read(&used);
        kill(id, Signal::SIGCONT)?;
        removed?;
        ensure!(repaired? == right, "the file is not repaired");
    } else {
        kill(id, Signal::SIGKILL)?;
    }
    world.installed("made", 1).await?;
    world.installed("changed", 1).await?;
    let content = fs::read_to_string(world.file("changed"))?;
    ensure!(content.contains("rmdir"), "{content}");
    world.gone("deleted").await?;
    // What pods use is there as before.
    world.is("used", "Terminating").await?;
    ensure!(
        world.file("used").exists(),
        "the file of a used profile is gone"
    );
    world.end_pod("bound").await?;
    world.gone("used").await?;
    for profile in ["made", "changed"] {
        world.delete_profile(profile).await?;
        world.gone(profile).await?;
    }
    world.runs().await?;
    world.webhook_answers().await
}
