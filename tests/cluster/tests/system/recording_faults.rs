//! Whatever happens while something is recorded, its profile is complete or says what is missing.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use spo_cluster_tests::node::{self, exec};

use crate::faults::{process, processes};
use crate::recording::{Recording, calls, ensure_whole, evidence};
use crate::world::{SPOD, World};

/// How long the API server says nothing: longer than a recorder waits for an answer.
const SILENCE: Duration = Duration::from_secs(25);

fn reasons(profile: &Value) -> String {
    evidence(profile, "partial").to_string()
}

/// What is told of the only container of a recording.
fn told(recording: &Value) -> &Value {
    &recording["status"]["nodes"][0]["containers"][0]
}

pub(crate) async fn a_pod_that_ends_while_the_api_server_is_silent_is_whole(
    world: &World,
) -> Result<()> {
    let Some(folder) = processes("kube-apiserver") else {
        return Ok(());
    };
    let recording = Recording::begin(world, "silence", "None").await?;
    let shared = format!("/run/{}-silence", world.users);
    let script =
        "cd /tmp; mkdir a; until [ -e /shared/end ]; do sleep 1; done; sync; > /shared/ended";
    let mut pod = recording.pod("unheard", script);
    pod["spec"]["volumes"] = json!([{
        "name": "shared", "hostPath": { "path": shared, "type": "DirectoryOrCreate" },
    }]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "shared", "mountPath": "/shared" }]);
    world.runs_pod(&pod).await?;
    // So that something is under way when the server stops.
    recording
        .becomes("told", |found| told(found)["running"] == 1)
        .await?;
    let recorders = world.node.processes("bpf-recorder")?;
    let shared = world.root().join(shared.trim_start_matches('/'));
    let server = process(&folder, "kube-apiserver")?;
    kill(server, Signal::SIGSTOP)?;
    let wrote = fs::write(shared.join("end"), "");
    tokio::time::sleep(SILENCE).await;
    let ended = shared.join("ended").exists();
    kill(server, Signal::SIGCONT)?;
    wrote?;
    ensure!(ended, "the pod did not end meanwhile");
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    let profile = recording.profile("main", is_last).await?;
    ensure_whole(&profile)?;
    let all = calls(&profile);
    for wanted in ["mkdir", "sync"] {
        ensure!(all.contains(wanted), "{wanted} is not in {all:?}");
    }
    ensure!(
        world.node.processes("bpf-recorder")? == recorders,
        "it is another recorder"
    );
    recording.end().await?;
    world.runs().await?;
    world.webhook_answers().await?;
    world.delete_profile("silence-main").await?;
    world.end_pod("unheard").await
}

/// A new version of the daemon comes while pods are recorded.
pub(crate) async fn a_recorder_that_is_replaced_says_what_it_cannot_know(
    world: &World,
) -> Result<()> {
    let recording = Recording::begin(world, "rolled", "None").await?;
    let script = "cd /tmp; mkdir a; until [ -e /tmp/end ]; do sleep 1; done";
    world.runs_pod(&recording.pod("before", script)).await?;
    recording
        .becomes("told", |found| told(found)["running"] == 1)
        .await?;
    let recorders = world.node.processes("bpf-recorder")?;
    let louder = json!({ "spec": { "verbosity": 1 } });
    world.merge(SPOD, &louder).await?;
    world.runs().await?;
    let now = world.node.processes("bpf-recorder")?;
    ensure!(now.len() == 1 && now != recorders, "{now:?} run on");
    // The one that ended wrote what it had, and the next one knows that it does not know all.
    let profile = recording
        .profile("main", |found| {
            reasons(found).contains("the recorder ended")
        })
        .await?;
    ensure!(calls(&profile).contains("mkdir"), "{profile:#}");
    recording
        .becomes("told to be incomplete", |found| {
            let reasons = &told(found)["incomplete"];
            reasons.to_string().contains("before the recorder did")
        })
        .await?;
    // What begins now is whole.
    let mut after = recording.pod("after", "cd /tmp; mkdir a; sync");
    after["spec"]["containers"][0]["name"] = json!("next");
    node::start(&world.admin, &world.users, &after).await?;
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    let next = recording.profile("next", is_last).await?;
    ensure_whole(&next)?;
    ensure!(calls(&next).contains("sync"), "{next:#}");
    exec(&world.users, "before", &["sh", "-c", "echo > /tmp/end"])?;
    recording.end().await?;
    // It stays so.
    let profile = recording.profile("main", |_| true).await?;
    ensure!(reasons(&profile) != "null", "{profile:#}");
    world
        .merge(SPOD, &json!({ "spec": { "verbosity": null } }))
        .await?;
    world.runs().await?;
    for name in ["main", "next"] {
        world.delete_profile(&format!("rolled-{name}")).await?;
    }
    for name in ["before", "after"] {
        world.end_pod(name).await?;
    }
    Ok(())
}

/// What a recorder had that is killed is gone, and this is told.
pub(crate) async fn a_recorder_that_is_killed_says_what_is_missing(world: &World) -> Result<()> {
    let recording = Recording::begin(world, "killed", "None").await?;
    let script = "cd /tmp; mkdir a; until [ -e /tmp/end ]; do sleep 1; done";
    world.runs_pod(&recording.pod("witness", script)).await?;
    recording
        .becomes("told", |found| told(found)["running"] == 1)
        .await?;
    let recorders = world.node.processes("bpf-recorder")?;
    let [recorder] = recorders[..] else {
        anyhow::bail!("{recorders:?} are recorders")
    };
    kill(Pid::from_raw(recorder), Signal::SIGKILL)?;
    recording
        .becomes("told to be incomplete", |found| {
            let reasons = &told(found)["incomplete"];
            reasons.to_string().contains("before the recorder did")
        })
        .await?;
    exec(&world.users, "witness", &["sh", "-c", "echo > /tmp/end"])?;
    recording.end().await?;
    world.runs().await?;
    world.delete_profile("killed-main").await?;
    world.end_pod("witness").await
}
