//! `spo verify`, on the node: what containers really have.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use spo_cluster_tests::node;

use crate::world::{World, localhost, refuses, user};

/// What `spo verify` said, and its exit code.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) report: Value,
    errors: String,
}

impl Said {
    pub(crate) fn of(world: &World, arguments: &[&str]) -> Result<Self> {
        let spo = std::env::var_os("SPO_BIN");
        let output = Command::new(spo.context("SPO_BIN does not name the program")?)
            .args(["verify", "-o", "json", "--node", &world.node.name, "--root"])
            .arg(world.folder())
            .args(arguments)
            .output()?;
        Ok(Self {
            code: output.status.code(),
            report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Of one pod of the users'.
    pub(crate) fn of_pod(world: &World, pod: &str) -> Result<Self> {
        Self::of(world, &["--pod", &format!("{}/{pod}", world.users)])
    }

    /// Its only container is in this state, for a reason that says this, and the exit code is this.
    pub(crate) fn is(&self, state: &str, reason: &str, code: i32) -> Result<()> {
        let Self { report, errors, .. } = self;
        let container = &report["containers"][0];
        let why = container["reasons"].to_string();
        ensure!(
            container["state"] == state && why.contains(reason) && self.code == Some(code),
            "not {state} with {code} because of {reason}, but {:?}: {report:#}\n{errors}",
            self.code
        );
        Ok(())
    }

    fn file(&self) -> &str {
        let state = &self.report["files"][0]["state"];
        state.as_str().unwrap_or_default()
    }
}

/// What the kernel has of each container of a namespace: by `POD/CONTAINER`, `PROFILE STATE`, and why where
/// it is not `Verified`.
pub(crate) fn has(world: &World, namespace: &str) -> Result<BTreeMap<String, String>> {
    let Said { report, errors, .. } = Said::of(world, &[])?;
    let containers = report["containers"].as_array().context(errors)?.iter();
    let containers = containers.filter(|one| one["namespace"] == namespace);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let said = |one: &Value| {
        let container = format!("{}/{}", text(&one["pod"]), text(&one["container"]));
        let mut said = vec![format!("{} {}", text(&one["profile"]), text(&one["state"]))];
        said.extend(one["reasons"].as_array().into_iter().flatten().map(text));
        (container, said.join(": "))
    };
    Ok(containers.map(said).collect())
}

/// The processes of a verb do nothing until this is dropped.
pub(crate) struct Stopped(Vec<Pid>);

impl Stopped {
    pub(crate) fn all(world: &World, verb: &str) -> Result<Self> {
        let found = world.node.processes(verb)?;
        let stopped = Self(found.into_iter().map(Pid::from_raw).collect());
        ensure!(!stopped.0.is_empty(), "no {verb} runs");
        for id in &stopped.0 {
            kill(*id, Signal::SIGSTOP)?;
        }
        Ok(stopped)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for id in &self.0 {
            // Who ended meanwhile need not go on.
            kill(*id, Signal::SIGCONT).ok();
        }
    }
}

pub(crate) async fn containers_have_their_profiles_or_it_is_told(world: &World) -> Result<()> {
    let name = "verified";
    world.apply(name, &refuses(&["mkdir", "mkdirat"])).await?;
    world.installed(name, 1).await?;
    world.runs_pod(&user("right", name)).await?;
    let said = Said::of_pod(world, "right")?;
    said.is("Verified", "null", 0)?;
    ensure!(said.file() == "Same", "{:#}", said.report);
    // What is executed there has a filter of its own.
    let mut inside = Command::new(about()?)
        .args([
            "--namespace",
            &world.users,
            "exec",
            "right",
            "--",
            "sleep",
            "30",
        ])
        .spawn()?;
    let has_two = async || {
        let said = Said::of_pod(world, "right")?;
        said.is("Verified", "null", 0)?;
        let id = said.report["containers"][0]["id"].clone();
        let id = id.as_str().context("no id")?;
        Ok((threads(id)? > 1).then_some(()))
    };
    let two = world.until("a command is executed", has_two).await;
    inside.kill()?;
    inside.wait()?;
    two?;

    // The profile changes: who started before has an older one.
    world
        .apply(name, &refuses(&["mkdir", "mkdirat", "rmdir"]))
        .await?;
    world.installed(name, 1).await?;
    let stale = "rmdir: profile says ERRNO, the kernel's filter ALLOW";
    Said::of_pod(world, "right")?.is("Stale", stale, 4)?;
    world.runs_pod(&user("later", name)).await?;
    Said::of_pod(world, "later")?.is("Verified", "null", 0)?;
    world.end_pod("right").await?;

    // The file changes on the node, and nobody repairs it.
    let file = world.file(name);
    let right = fs::read(&file)?;
    let changed = fs::metadata(&file)?.modified()?;
    let stopped = Stopped::all(world, "daemon")?;
    let other = serde_json::to_vec(&refuses(&["mkdir"]))?;
    fs::write(&file, &other)?;
    let said = Said::of_pod(world, "later")?;
    said.is("Verified", "null", 4)?;
    ensure!(said.file() == "Differs", "{:#}", said.report);
    world.runs_pod(&user("deceived", name)).await?;
    let said = Said::of_pod(world, "deceived")?;
    said.is("Mismatch", "it has what the file on the node says", 4)?;
    said.is(
        "Mismatch",
        "mkdirat: profile says ERRNO, the kernel's filter ALLOW",
        4,
    )?;
    // The file is as it was, to the time: the container has another profile under the same name.
    put_back(&file, &right, changed)?;
    drop(stopped);
    let said = Said::of_pod(world, "deceived")?;
    said.is(
        "Mismatch",
        "mkdirat: profile says ERRNO, the kernel's filter ALLOW",
        4,
    )?;
    ensure!(said.file() == "Same", "{:#}", said.report);

    // All of them: the worst counts.
    let all = Said::of(world, &[])?;
    ensure!(all.code == Some(4), "{:?}: {:#}", all.code, all.report);
    ensure!(
        said.report["node"] == world.node.name.as_str(),
        "{:#}",
        said.report
    );

    // A pod that is not there.
    let said = Said::of_pod(world, "not-there")?;
    ensure!(
        said.code == Some(1) && said.errors.contains("not-there"),
        "{:?}: {}",
        said.code,
        said.errors
    );
    let mut plain = node::pod("plain", "sleep 1000");
    plain["spec"]["securityContext"]["seccompProfile"] = json!({ "type": "RuntimeDefault" });
    let mut privileged = node::pod("privileged", "sleep 1000");
    privileged["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
    world.runs_pod(&plain).await?;
    world.runs_pod(&privileged).await?;
    Said::of_pod(world, "plain")?.is("NoProfile", "threads with one filter: 1", 5)?;
    Said::of_pod(world, "privileged")?.is("NoProfile", "threads without a filter: 1", 5)?;
    for pod in ["later", "deceived", "plain", "privileged"] {
        world.end_pod(pod).await?;
    }
    world.delete_profile(name).await?;
    world.gone(name).await
}

/// Makes a file what it was, to the time.
pub(crate) fn put_back(file: &Path, text: &[u8], changed: SystemTime) -> Result<()> {
    fs::write(file, text)?;
    let file = File::options().write(true).open(file)?;
    Ok(file.set_modified(changed)?)
}

/// Containers of one pod that are right.
const MANY: usize = 40;

/// Containers that come, are entered, and run, of two profiles.
pub(crate) async fn what_is_right_is_never_told_as_wrong(world: &World) -> Result<()> {
    let based = json!({
        "state": "Enabled",
        "defaultAction": "SCMP_ACT_ALLOW",
        "baseProfileName": "verified-base",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            { "action": "SCMP_ACT_LOG", "names": ["acct"] },
            { "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "names": ["personality"], "args": [
                { "index": 0, "value": 8, "op": "SCMP_CMP_MASKED_EQ", "valueTwo": 8 },
            ] },
        ],
    });
    world
        .apply("verified-base", &refuses(&["chroot", "socket"]))
        .await?;
    world.apply("verified-many", &based).await?;
    world.installed("verified-base", 1).await?;
    world.installed("verified-many", 1).await?;
    let mut pod = user("many", "verified-many");
    let first = pod["spec"]["containers"][0].clone();
    let containers = (0..MANY).map(|number| {
        let mut container = first.clone();
        container["name"] = json!(format!("c{number}"));
        // With a probe, processes without the filter yet come and go.
        container["readinessProbe"] =
            json!({ "exec": { "command": ["true"] }, "periodSeconds": 1, "timeoutSeconds": 10 });
        if number % 2 == 0 {
            container["securityContext"]["seccompProfile"] = localhost("verified-base");
        }
        container
    });
    pod["spec"]["containers"] = containers.collect();
    world.runs_pod(&pod).await?;
    let began = SystemTime::now();
    for _ in 0..5 {
        let said = Said::of_pod(world, "many")?;
        let containers = said.report["containers"].as_array().context("none")?;
        let wrong: Vec<_> = containers
            .iter()
            .filter(|container| container["state"] != "Verified")
            .collect();
        ensure!(
            containers.len() == MANY && wrong.is_empty() && said.code == Some(0),
            "after {:?}: {wrong:#?}",
            began.elapsed()
        );
    }
    world.end_pod("many").await?;
    for name in ["verified-many", "verified-base"] {
        world.delete_profile(name).await?;
        world.gone(name).await?;
    }
    Ok(())
}

/// A kubectl that fits.
fn about() -> Result<std::path::PathBuf> {
    let about = node::about()?.context("this cluster says nothing about itself")?;
    Ok(about.kubectl)
}

/// How many processes a container has.
fn threads(container: &str) -> Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir("/proc")? {
        let groups = fs::read_to_string(entry?.path().join("cgroup"));
        found += usize::from(groups.is_ok_and(|groups| groups.contains(container)));
    }
    Ok(found)
}
