//! Recordings that end by a rule, and profiles that are taken before that.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::node::{self, exec};
use spo_cluster_tests::objects::create;

use crate::recording::{Recording, calls, ensure_whole, evidence};
use crate::world::World;

/// Waits until a recording has ended by a rule, and is complete.
async fn finished(world: &World, recording: &Recording<'_>) -> Result<Value> {
    let path = recording.path();
    let is_over = |found: &Value| {
        let said = &found["status"]["conditions"][0];
        said["type"] == "Finished" && said["status"] == "True"
    };
    let found = world.becomes(&path, "finished", is_over).await?;
    ensure!(found["metadata"]["finalizers"].is_null(), "{found:#}");
    Ok(found)
}

async fn rule(world: &World, recording: &Recording<'_>, rule: Value) -> Result<()> {
    let change = json!({ "spec": { "finish": rule } });
    world.merge(&recording.path(), &change).await.map(drop)
}

async fn job(world: &World, name: &str, script: &str) -> Result<String> {
    let mut template = node::pod(name, script);
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name },
        "spec": { "backoffLimit": 0, "template": { "spec": template["spec"].take() } },
    });
    let jobs = format!("/apis/batch/v1/namespaces/{}/jobs", world.users);
    create(&world.admin, &jobs, &job).await??;
    Ok(format!("{jobs}/{name}?propagationPolicy=Background"))
}

pub(crate) async fn a_job_ends_a_recording_and_the_pod_runs_on(world: &World) -> Result<()> {
    // Of one name the kubelet might still have the container before.
    let rounds = [
        ("true", "JobCompleted", "served"),
        ("false", "JobFailed", "served-again"),
    ];
    for (ends, reason, served) in rounds {
        let recording = Recording::begin(world, "exercised", "None").await?;
        rule(world, &recording, json!({ "after": "1h", "job": "e2e" })).await?;
        let script = "cd /tmp; until [ -e go ]; do sleep 1; done; mkdir new; sleep 1000";
        world.runs_pod(&recording.pod(served, script)).await?;
        exec(&world.users, served, &["touch", "/tmp/go"])?;
        world
            .until("it did its work", async || {
                let made = exec(&world.users, served, &["ls", "/tmp/new"])?;
                Ok(made.status.success().then_some(()))
            })
            .await?;
        let job = job(world, "e2e", ends).await?;
        let found = finished(world, &recording).await?;
        let said = &found["status"]["conditions"][0];
        ensure!(said["reason"] == reason, "{found:#}");
        // How far it got stays.
        let node = &found["status"]["nodes"][0];
        ensure!(
            node["finished"] == true && node["pods"].is_null(),
            "{found:#}"
        );
        ensure!(node["containers"][0]["replicas"] == 1, "{found:#}");
        let profile = recording.profile("main", |_| true).await?;
        ensure!(calls(&profile).contains("mkdir"), "{profile:#}");
        ensure!(evidence(&profile, "end") == &said["message"], "{profile:#}");
        if ends == "true" {
            ensure_whole(&profile)?;
        } else {
            let why = "the Job that was to exercise it failed";
            ensure!(evidence(&profile, "partial") == why, "{profile:#}");
        }
        world.delete(&job).await?;
        recording.end().await?;
        world.delete_profile("exercised-main").await?;
        world.end_pod(served).await?;
    }
    Ok(())
}

pub(crate) async fn a_recording_ends_when_nothing_new_comes(world: &World) -> Result<()> {
    let recording = Recording::begin(world, "quiet", "Containers").await?;
    rule(world, &recording, json!({ "quiet": "5s" })).await?;
    // Each step is new, and comes before it has been quiet for long enough.
    let script = "cd /tmp; sleep 3; mkdir new; sleep 3; rmdir new; while true; do sleep 1; done";
    world.runs_pod(&recording.pod("calm", script)).await?;
    let found = world
        .becomes(&recording.path(), "finished", |found| {
            found["status"]["conditions"][0]["status"] == "True"
        })
        .await?;
    ensure!(
        found["status"]["conditions"][0]["reason"] == "Quiet",
        "{found:#}"
    );
    let merged = recording.profile("main", |_| true).await?;
    ensure_whole(&merged)?;
    let all = calls(&merged);
    ensure!(all.contains("mkdir") && all.contains("rmdir"), "{all:?}");
    recording.end().await?;
    world.delete_profile("quiet-main").await?;
    world.end_pod("calm").await
}

pub(crate) async fn a_profile_is_taken_while_its_container_runs(world: &World) -> Result<()> {
    let recording = Recording::begin(world, "taken", "None").await?;
    let wait = |file: &str| format!("until [ -e {file} ]; do sleep 1; done");
    let script = format!(
        "cd /tmp; mkdir new; {}; rmdir new; touch did; {}",
        wait("go"),
        wait("end")
    );
    world.runs_pod(&recording.pod("running", &script)).await?;
    let take = async |value: &str| {
        let change = json!({ "metadata": { "annotations": { "spo.x-k8s.io/take": value } } });
        world.merge(&recording.path(), &change).await?;
        let answered = |found: &Value| found["status"]["nodes"][0]["taken"] == value;
        world
            .becomes(&recording.path(), "answered", answered)
            .await?;
        recording.profile("main", |_| true).await
    };
    world
        .until("it did its work", async || {
            let made = exec(&world.users, "running", &["ls", "/tmp/new"])?;
            Ok(made.status.success().then_some(()))
        })
        .await?;
    let first = take("first").await?;
    let partial = "it was taken while the container ran";
    ensure!(evidence(&first, "partial") == partial, "{first:#}");
    ensure!(
        evidence(&first, "end") == "the container runs on",
        "{first:#}"
    );
    let all = calls(&first);
    ensure!(all.contains("mkdir") && !all.contains("rmdir"), "{all:?}");
    exec(&world.users, "running", &["touch", "/tmp/go"])?;
    world
        .until("it went on", async || {
            let made = exec(&world.users, "running", &["ls", "/tmp/did"])?;
            Ok(made.status.success().then_some(()))
        })
        .await?;
    let second = take("second").await?;
    ensure!(evidence(&second, "partial") == partial, "{second:#}");
    ensure!(calls(&second).contains("rmdir"), "{second:#}");
    // It was not the end.
    exec(&world.users, "running", &["touch", "/tmp/end"])?;
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    let last = recording.profile("main", is_last).await?;
    ensure_whole(&last)?;
    recording.end().await?;
    world.delete_profile("taken-main").await?;
    world.end_pod("running").await
}
