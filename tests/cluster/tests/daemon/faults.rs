//! Whatever breaks, it recovers by itself, and nothing is left behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::world::{World, allows, spo};

#[tokio::test]
async fn a_folder_that_is_gone_is_said_and_comes_back() -> Result<()> {
    let world = World::new().await?;
    let _daemon = world.start()?;
    for name in ["a", "b"] {
        world.apply(name, &allows(&["read"])).await?;
        world.is_installed(name).await?;
    }
    fs::remove_dir_all(&world.root)?;
    for name in ["a", "b"] {
        let status = world.is(name, "Error", "FolderUnusable").await?;
        assert!(status["status"]["digest"].is_null());
    }
    world.apply("c", &allows(&["read"])).await?;
    world.is("c", "Error", "FolderUnusable").await?;
    // What is deleted meanwhile does not wait for the folder.
    let released = json!({ "status": "Terminating", "activeWorkloads": [] });
    let finalizers = json!({ "metadata": { "finalizers": ["spo.x-k8s.io/profile"] } });
    world.patch("b", finalizers).await?;
    world.delete("b").await?;
    world.operator_says("b", released).await?;
    world.is_silent("b").await?;
    fs::create_dir(&world.root)?;
    for name in ["a", "c"] {
        world.is_installed(name).await?;
    }
    world.remove().await
}

/// Between the kubelet and the folder.
#[tokio::test]
async fn what_the_kubelet_does_not_find_is_not_installed() -> Result<()> {
    let world = World::new().await?;
    let seccomp = world.kubelet()?;
    let (link, own) = (
        seccomp.join("operator"),
        seccomp.join("security-profiles-operator.json"),
    );
    let start = || {
        let mut command = Command::new(spo());
        command.args(world.arguments()).arg(world.told_of_kubelet());
        world.start_as(command)
    };
    let daemon = start()?;
    for name in ["a", "b"] {
        world.apply(name, &allows(&["read"])).await?;
        world.is_installed(name).await?;
    }
    let right = fs::read(world.file("a"))?;

    fs::remove_file(&link)?;
    for name in ["a", "b"] {
        let status = world.is(name, "Error", "FolderUnusable").await?;
        let message = status["status"]["message"].to_string();
        ensure!(message.contains("operator, through which"), "{message}");
    }
    world.event("a", "FolderUnusable").await?;
    // Files are kept in order, and what comes meanwhile is no better off.
    fs::remove_file(world.file("a"))?;
    world
        .until("repaired", || {
            fs::read(world.file("a")).is_ok_and(|text| text == right)
        })
        .await?;
    world.apply("c", &allows(&["read"])).await?;
    world.is("c", "Error", "FolderUnusable").await?;
    // As node-setup does it.
    let unfinished = seccomp.join(".spo-setup");
    symlink(&world.root, &unfinished)?;
    fs::rename(&unfinished, &link)?;
    for name in ["a", "b", "c"] {
        world.is_installed(name).await?;
    }

    // A daemon that begins sees it as well.
    drop(daemon);
    fs::remove_file(&link)?;
    symlink("/elsewhere", &link)?;
    let _daemon = start()?;
    let status = world.is("a", "Error", "FolderUnusable").await?;
    let message = status["status"]["message"].to_string();
    ensure!(message.contains("/elsewhere"), "{message}");

    // What is not ours, nobody replaces.
    fs::remove_file(&link)?;
    fs::create_dir(&link)?;
    let status = world.is("a", "Error", "SetupBlocked").await?;
    let message = status["status"]["message"].to_string();
    ensure!(message.contains("is no link"), "{message}");
    fs::remove_dir(&link)?;
    world.is("a", "Error", "FolderUnusable").await?;
    symlink(&world.root, &link)?;
    world.is_installed("a").await?;

    // Its own profile.
    fs::write(&own, "{ }")?;
    world.is("a", "Error", "FolderUnusable").await?;
    fs::write(&own, "{}")?;
    world.is_installed("a").await?;
    fs::remove_file(&own)?;
    world.is("b", "Error", "FolderUnusable").await?;
    fs::write(&own, "{}")?;
    for name in ["a", "b", "c"] {
        world.is_installed(name).await?;
    }

    // All of it goes, and comes back.
    fs::remove_dir_all(&seccomp)?;
    world.is("a", "Error", "FolderUnusable").await?;
    world.kubelet()?;
    world.is_installed("a").await?;
    world.remove().await
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing_half() -> Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        println!("skipped: a full disk: needs root, to mount a small file system");
        return Ok(());
    }
    let world = World::new().await?;
    let mounted = Mounted::small(&world.root)?;
    let daemon = world.start()?;
    for name in ["short-lived", "a"] {
        world.apply(name, &allows(&["read"])).await?;
        world.is_installed(name).await?;
    }
    // The journal has more lines than names, so that whoever reads it next wants to write it anew.
    world.delete("short-lived").await?;
    world
        .until("no file", || !world.file("short-lived").exists())
        .await?;
    let before = fs::read(world.file("a"))?;
    // The journal's page has room for what is still to be noted.
    let filler = world.root.join("filler");
    let mut size = 96 << 10;
    while fs::write(&filler, vec![b'x'; size]).is_err() {
        size -= 4096;
    }
    let many: Vec<_> = (0..2000).map(|number| format!("call{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    world.apply("a", &allows(&many)).await?;
    world.apply("b", &allows(&many)).await?;
    for name in ["a", "b"] {
        let status = world.is(name, "Error", "CannotSaveSeccompProfile").await?;
        let message = status["status"]["message"].to_string();
        assert!(message.contains("No space"), "{message}");
    }
    assert_eq!(fs::read(world.file("a"))?, before);
    assert!(!world.file("b").exists());
    // Not a block is left, and whoever begins now goes on as before.
    let last = world.root.join("last");
    fs::write(&last, vec![b'x'; 64 << 10]).ok();
    drop(daemon);
    let _daemon = world.start()?;
    world.apply("c", &allows(&["read"])).await?;
    let status = world.is("c", "Error", "CannotSaveSeccompProfile").await?;
    let message = status["status"]["message"].to_string();
    assert!(message.contains("No space"), "{message}");
    for name in ["a", "b"] {
        world.is(name, "Error", "CannotSaveSeccompProfile").await?;
    }
    assert_eq!(fs::read(world.file("a"))?, before);
    assert!(!world.log().contains("FolderUnusable"), "{}", world.log());
    fs::remove_file(&last)?;
    world
        .until("no unfinished file", || {
            let entries = fs::read_dir(&world.root).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .all(|name| !name.starts_with(".spo-new-"))
        })
        .await?;
    fs::remove_file(&filler)?;
    for name in ["a", "b", "c"] {
        world.is_installed(name).await?;
    }
    drop(mounted);
    world.remove().await
}

struct Mounted(std::path::PathBuf);

impl Mounted {
    fn small(folder: &std::path::Path) -> Result<Self> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=96k,mode=744", "tmpfs"])
            .arg(folder)
            .status()?;
        ensure!(done.success(), "mount: {done}");
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// Killed again and again while profiles come, change and go, at moments that are as random as the
/// machine is busy.
#[tokio::test]
async fn a_daemon_that_is_killed_at_any_moment_loses_nothing() -> Result<()> {
    const ROUNDS: usize = 12;
    const PROFILES: usize = 20;
    let world = World::new().await?;
    for round in 0..ROUNDS {
        let daemon = world.start()?;
        for number in 0..PROFILES {
            let name = format!("p{number}");
            let call = format!("call{round}");
            if (number + round) % 5 == 0 && round > 0 {
                // It may not be there.
                world.delete(&name).await.ok();
            } else {
                world.apply(&name, &allows(&[&call])).await?;
            }
            if number == (round * 7) % PROFILES {
                tokio::time::sleep(Duration::from_millis(40 * round as u64)).await;
                break;
            }
        }
        drop(daemon);
    }
    let _daemon = world.start()?;
    for number in 0..PROFILES {
        world
            .apply(&format!("p{number}"), &allows(&["last"]))
            .await?;
    }
    for number in 0..PROFILES {
        world.is_installed(&format!("p{number}")).await?;
    }
    for number in 0..PROFILES {
        world.delete(&format!("p{number}")).await?;
    }
    let left = || -> Vec<String> {
        let entries = fs::read_dir(&world.root).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    world
        .until("nothing is left", || left() == [".spo-written"])
        .await?;
    world.remove().await
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_waited_for() -> Result<()> {
    let world = World::new().await?;
    let mut daemon = world.start()?;
    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;
    world.proxy.cut();
    world.apply("a", &allows(&["write"])).await?;
    world.apply("b", &allows(&["read"])).await?;
    // Files are kept in order meanwhile.
    let file = world.file("a");
    let right = fs::read(&file)?;
    fs::remove_file(&file)?;
    world
        .until("repaired", || {
            fs::read(&file).is_ok_and(|content| content == right)
        })
        .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.proxy.mend();
    world.is_installed("a").await?;
    world.is_installed("b").await?;

    world.proxy.hang();
    world.apply("a", &allows(&["mmap"])).await?;
    world.delete("b").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.proxy.mend();
    world.is_installed("a").await?;
    world.until("no file", || !world.file("b").exists()).await?;

    // Asked to end, it ends by itself, and in time.
    let id = nix::unistd::Pid::from_raw(i32::try_from(daemon.child.id())?);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM)?;
    let mut ended = None;
    for _ in 0..500 {
        ended = daemon.child.try_wait()?;
        if ended.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    world.remove().await
}
