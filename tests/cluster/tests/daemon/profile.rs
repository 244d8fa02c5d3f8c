//! The daemon under its own seccomp profile, which comes from a recording of what is done here.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use spo_cluster_tests::web::{certificate, free_port, https_get, mount, plain_get, trusting};

use crate::metrics::{forget, reader};
use crate::world::{Daemon, World, allows, spo};

/// Set by `cargo xtask record-own daemon`: the file to record into, instead of holding the daemon to the
/// profile.
const RECORD: &str = "SPO_RECORD_DAEMON";
/// What `spo run` says of a call that the profile refuses.
const DENIED: &str = "spo: denied ";

fn profile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/profiles/security-profiles-operator.json")
}

#[tokio::test]
async fn the_daemons_own_profile_has_all_that_it_does() -> Result<()> {
    let recording = std::env::var_os(RECORD);
    let mut above = Command::new(spo());
    match &recording {
        Some(file) => above.args(["record", "--no-base-syscalls", "-o"]).arg(file),
        None => above.args(["run", "-p"]).arg(profile()),
    };
    let Some(below) = Below::start(above).await? else {
        return Ok(());
    };
    below.everything().await?;
    let (status, said) = below.stop().await?;
    ensure!(status.success(), "{status}\n{said}");
    ensure!(
        !said.contains(DENIED) && !said.contains("watcher were lost"),
        "the profile lacks what the daemon calls: cargo xtask record-own daemon\n{said}"
    );
    if recording.is_some() {
        ensure!(said.contains("lost: 0"), "{said}");
    }
    Ok(())
}

/// A profile that lacks one call: the test above sees that.
#[tokio::test]
async fn a_call_that_the_profile_lacks_is_named() -> Result<()> {
    const LACKING: &str = "inotify_add_watch";
    let mut lacking: Value = serde_json::from_slice(&fs::read(profile())?)?;
    let names = lacking["syscalls"][0]["names"].as_array_mut();
    names.context("no names")?.retain(|name| name != LACKING);
    let folder = tempfile::TempDir::new()?;
    let file = folder.path().join("lacking.json");
    fs::write(&file, lacking.to_string())?;
    let mut above = Command::new(spo());
    above.args(["run", "-p"]).arg(&file);
    let Some(below) = Below::start(above).await? else {
        return Ok(());
    };
    below.world.apply("a", &allows(&["read"])).await?;
    below.world.is_installed("a").await?;
    let (_, said) = below.stop().await?;
    ensure!(said.contains(&format!("{DENIED}{LACKING} ")), "{said}");
    Ok(())
}

/// A daemon that `spo` watches, as its child.
struct Below {
    world: World,
    daemon: Daemon,
    _group: Group,
    health: u16,
    profiling: u16,
}

/// What is killed when it goes: both processes.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // They may have ended already.
        killpg(self.0, Signal::SIGKILL).ok();
    }
}

impl Below {
    /// Nothing where `spo` cannot watch.
    async fn start(mut above: Command) -> Result<Option<Self>> {
        if !nix::unistd::Uid::effective().is_root() {
            println!("skipped: the daemon's own profile: needs root, to see denied calls");
            return Ok(None);
        }
        let mut world = World::new().await?;
        let disk = world.files.path().join("disk");
        fs::create_dir(&disk)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&disk)
            .status()?;
        ensure!(mounted.success(), "mount: {mounted}");
        world.root = disk.join("root");
        fs::create_dir(&world.root)?;
        let (health, profiling) = (free_port()?, free_port()?);
        let arguments = world.arguments().into_iter().map(|argument| {
            if argument.starts_with("--health-address=") {
                return format!("--health-address=127.0.0.1:{health}");
            }
            argument
        });
        world.kubelet()?;
        above
            .arg("--")
            .arg(spo())
            .args(arguments)
            .arg(world.told_of_kubelet())
            .args(["-p", &format!("--profiling-port={profiling}")])
            .process_group(0);
        let daemon = world.start_as(above)?;
        let group = Group(Pid::from_raw(i32::try_from(daemon.child.id())?));
        let below = Self {
            world,
            daemon,
            _group: group,
            health,
            profiling,
        };
        below.world.apply("first", &allows(&["read"])).await?;
        below.world.is_installed("first").await?;
        let said = below.said()?;
        if said.contains("denied calls cannot be named") {
            println!(
                "skipped: the daemon's own profile: this build of spo, or this kernel, cannot name denied calls"
            );
            below.stop().await?;
            return Ok(None);
        }
        Ok(Some(below))
    }

    fn said(&self) -> Result<String> {
        let log = self.world.files.path().join("log");
        fs::read_to_string(log).context("there is no log")
    }

    /// All that a daemon can be brought to do.
    async fn everything(&self) -> Result<()> {
        let world = &self.world;
        self.profiles().await?;
        self.repairs().await?;
        self.folder().await?;
        self.disk().await?;
        self.server().await?;
        self.tells().await?;
        // Threads that have no work end after ten seconds.
        for number in 0..40 {
            let name = format!("many-{number}");
            world.apply(&name, &allows(&["read"])).await?;
        }
        for number in 0..40 {
            world.is_installed(&format!("many-{number}")).await?;
        }
        tokio::time::sleep(Duration::from_secs(12)).await;
        world.apply("last", &allows(&["read"])).await?;
        world.is_installed("last").await?;
        Ok(())
    }

    /// They come, change, stand on others, are wrong, disabled and deleted.
    async fn profiles(&self) -> Result<()> {
        let world = &self.world;
        world.apply("base", &allows(&["read"])).await?;
        world.event("base", "SavedSeccompProfile").await?;
        let mut above = allows(&["write"]);
        above["baseProfileName"] = json!("base");
        world.apply("above", &above).await?;
        world.is_installed("above").await?;
        world.apply("base", &allows(&["read", "mmap"])).await?;
        world.is_installed("base").await?;
        world.is_installed("above").await?;
        world.apply("wrong", &allows(&["no_such_call"])).await?;
        world.allow(&["read"]).await?;
        world.is("above", "Error", "NoLongerAllowed").await?;
        world
            .allow(&["read", "write", "mmap", "no_such_call"])
            .await?;
        world.is_installed("above").await?;
        let mut disabled = allows(&["read"]);
        disabled["state"] = json!("Disabled");
        world.apply("base", &disabled).await?;
        world
            .operator_saw("base", "Disabled", "Unavailable", &[])
            .await?;
        world.is("base", "Disabled", "").await?;
        world.apply("base", &allows(&["read"])).await?;
        world.is_installed("base").await?;
        world.apply("gone", &allows(&["read"])).await?;
        world.is_installed("gone").await?;
        let finalizers = json!({ "metadata": { "finalizers": ["spo.x-k8s.io/profile"] } });
        world.patch("gone", finalizers).await?;
        world.delete("gone").await?;
        let released = json!({ "status": "Terminating", "activeWorkloads": [] });
        world.operator_says("gone", released).await?;
        world.is_silent("gone").await?;
        ensure!(!world.file("gone").exists());
        Ok(())
    }

    /// Files are changed, removed, and replaced by what is none.
    async fn repairs(&self) -> Result<()> {
        let world = &self.world;
        world.apply("a", &allows(&["read"])).await?;
        world.is_installed("a").await?;
        let file = world.file("a");
        let right = fs::read(&file)?;
        let repaired = || fs::read(&file).is_ok_and(|text| text == right);
        fs::write(&file, "by somebody else")?;
        world.until("repaired", repaired).await?;
        fs::remove_file(&file)?;
        world.until("there again", repaired).await?;
        fs::remove_file(&file)?;
        std::os::unix::fs::symlink("/etc/passwd", &file)?;
        world.until("no link any more", repaired).await?;
        Ok(())
    }

    /// The folder goes, and comes back, as does the kubelet's, and what is in that is not right.
    async fn folder(&self) -> Result<()> {
        let world = &self.world;
        let seccomp = world.files.path().join("kubelet/seccomp");
        let link = seccomp.join("operator");
        fs::remove_file(&link)?;
        world.is("a", "Error", "FolderUnusable").await?;
        std::os::unix::fs::symlink("/elsewhere", &link)?;
        world
            .says("a", "led elsewhere", |status| {
                status["message"].to_string().contains("/elsewhere")
            })
            .await?;
        fs::remove_dir_all(&seccomp)?;
        world.is("a", "Error", "FolderUnusable").await?;
        world.kubelet()?;
        world.is_installed("a").await?;
        fs::write(seccomp.join("security-profiles-operator.json"), "{ }")?;
        world.is("a", "Error", "FolderUnusable").await?;
        fs::write(seccomp.join("security-profiles-operator.json"), "{}")?;
        world.is_installed("a").await?;
        fs::remove_dir_all(&world.root)?;
        world.is("a", "Error", "FolderUnusable").await?;
        fs::create_dir(&world.root)?;
        world.is_installed("a").await?;
        Ok(())
    }

    /// The disk is full, and then it is not.
    async fn disk(&self) -> Result<()> {
        let world = &self.world;
        let filler = world.root.join("filler");
        let mut size = 256 << 10;
        while fs::write(&filler, vec![b'x'; size]).is_err() {
            size -= 4096;
        }
        let many: Vec<_> = (0..2000).map(|number| format!("call{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        world.allow(&[]).await?;
        world.apply("large", &allows(&many)).await?;
        world
            .is("large", "Error", "CannotSaveSeccompProfile")
            .await?;
        fs::remove_file(&filler)?;
        world.is_installed("large").await?;
        Ok(())
    }

    /// The server is away, and then silent for longer than anybody waits.
    async fn server(&self) -> Result<()> {
        let world = &self.world;
        world.proxy.cut();
        world.apply("a", &allows(&["write"])).await?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        world.proxy.mend();
        world.is_installed("a").await?;
        world.proxy.hang();
        world.apply("a", &allows(&["mmap"])).await?;
        tokio::time::sleep(Duration::from_secs(25)).await;
        world.proxy.mend();
        world.is_installed("a").await?;
        Ok(())
    }

    /// It says that it is alive, how much it did, and where its time goes.
    async fn tells(&self) -> Result<()> {
        let world = &self.world;
        let said = plain_get(self.health, "/healthz", &[]).await?;
        ensure!(said.starts_with("HTTP/1.1 200"), "{said}");
        let paths = ["/metrics", "/metrics-spod"];
        let reader = [reader(world, "reader", &paths).await?];
        for generation in 1..=2 {
            let (authority, signed) = certificate()?;
            mount(&world.certificates(), generation, &signed)?;
            for path in paths {
                let (_, said) =
                    https_get(world.metrics, &trusting(&authority), path, &reader).await?;
                ensure!(said.starts_with("HTTP/1.1 200"), "{path}: {said}");
            }
        }
        forget(world).await?;
        let profile = plain_get(self.profiling, "/debug/pprof/profile?seconds=2", &[]);
        let busy = async {
            for number in 0..20 {
                let call = format!("busy{number}");
                world.apply("busy", &allows(&[&call])).await?;
            }
            Ok(())
        };
        let (said, busy) = tokio::join!(profile, busy);
        busy.and(said).and_then(|said| {
            ensure!(said.starts_with("HTTP/1.1 200"), "{said:?}");
            Ok(())
        })
    }

    /// Asks it to end, and returns how it ended, and all that was said.
    async fn stop(mut self) -> Result<(ExitStatus, String)> {
        let above = Pid::from_raw(i32::try_from(self.daemon.child.id())?);
        kill(above, Signal::SIGTERM)?;
        let mut status = None;
        for _ in 0..1000 {
            status = self.daemon.child.try_wait()?;
            if status.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = status.context("it does not end")?;
        let said = self.said()?;
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(self.world.files.path().join("disk"))
            .status()?;
        ensure!(unmounted.success(), "umount: {unmounted}");
        self.world.remove().await?;
        Ok((status, said))
    }
}
