//! With no webhook at all.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::get;

use crate::world::{DEPLOYMENTS, OWN, PODS, PROFILES, REGISTRATION, World, localhost, refuses};

/// Everything works but what a webhook alone can do: what cannot be used is taken, and its status
/// says why it is not installed.
pub(crate) async fn all_but_admission_works_with_no_webhook(world: &World) -> Result<()> {
    let operator = format!("{DEPLOYMENTS}/{OWN}");
    let webhook = format!("{DEPLOYMENTS}/{OWN}-webhook");
    let service = format!("/api/v1/namespaces/{OWN}/services/webhook-service");
    let none = [webhook.as_str(), &service, REGISTRATION];
    arguments(world, &operator, &["operator", "--webhook=false"]).await?;
    for path in none {
        world.delete(path).await?;
    }
    let bad = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{
            "names": ["read"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 5, "op": "SCMP_CMP_EQ" }, { "index": 9, "op": "SCMP_CMP_EQ" }],
        }],
    });
    world.apply("bad", &bad).await?;
    let path = format!("{PROFILES}/bad");
    let told = world.becomes(&path, "refused", |profile| {
        let message = profile["status"]["conditions"][0]["message"].as_str();
        profile["status"]["status"] == "Error"
            && message.is_some_and(|message| message.contains("index"))
    });
    told.await?;
    ensure!(!world.file("bad").exists(), "it is installed all the same");
    world
        .apply("plain", &refuses(&["mkdir", "mkdirat"]))
        .await?;
    world.installed("plain", 1).await?;
    let mut pod = node::pod("plain", "mkdir /tmp/x; echo mkdir $?; sleep 1000");
    pod["spec"]["securityContext"]["seccompProfile"] = localhost("plain");
    world.runs_pod(&pod).await?;
    world
        .until("it is bound", async || {
            let logs = node::logs(&world.admin, &world.users, "plain").await?;
            Ok(logs.contains("mkdir 1").then_some(()))
        })
        .await?;
    for name in ["plain", "bad"] {
        world.delete_profile(name).await?;
    }
    world.is("plain", "Terminating").await?;
    world.end_pod("plain").await?;
    for name in ["plain", "bad"] {
        world.gone(name).await?;
    }
    for path in none {
        ensure!(get(&world.admin, path).await?.is_none(), "{path} is back");
    }
    // And back.
    arguments(world, &operator, &["operator"]).await?;
    world.webhook_answers().await
}

/// Has another operator run, with these arguments.
async fn arguments(world: &World, operator: &str, arguments: &[&str]) -> Result<()> {
    let container = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/args", "value": arguments }]);
    World::kubectl(&[
        "--namespace",
        OWN,
        "patch",
        "deployment",
        OWN,
        "--type=json",
        "--patch",
        &container.to_string(),
    ])?;
    let done = world.becomes(operator, "another operator runs", |operator: &Value| {
        let status = &operator["status"];
        status["observedGeneration"] == operator["metadata"]["generation"]
            && status["updatedReplicas"] == 1
            && status["replicas"] == 1
            && status["availableReplicas"] == 1
    });
    done.await?;
    // One that is about to end counts no more, and may still be at work.
    let pods = format!("{PODS}?labelSelector=name%3D{OWN}");
    let one = world.becomes(&pods, "the operator's alone", |pods| {
        pods["items"].as_array().is_some_and(|pods| pods.len() == 1)
    });
    one.await.map(drop)
}
