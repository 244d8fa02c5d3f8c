//! Objects that the operator writes, and what it says when it cannot.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use spo_cluster_tests::crd;
use spo_cluster_tests::objects::get;

use crate::world::{DAEMONS, NAMESPACE, SERVICES, SPOD, WEBHOOK, World};
use crate::{base, pod};

const MONITOR: &str = "/apis/monitoring.coreos.com/v1/namespaces/security-profiles-operator/servicemonitors/security-profiles-operator-monitor";
const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/servicemonitors.monitoring.coreos.com";

#[tokio::test]
async fn a_monitor_is_made_where_the_cluster_knows_them() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    world.delete(DEFINITION).await?;
    let mut operator = world.start("one")?;
    world
        .becomes(DAEMONS, "there are daemons", |_| true)
        .await?;
    crd::apply(&world.admin, &crd::monitors()).await?;
    let monitor = world.becomes(MONITOR, "there is a monitor", |_| true);
    let monitor = monitor.await?;
    let service = world.get(&format!("{SERVICES}/metrics")).await?;
    let selected = &monitor["spec"]["selector"]["matchExpressions"][0];
    let label = selected["key"].as_str().context("it selects nothing")?;
    ensure!(
        service["metadata"]["labels"][label] == selected["values"][0],
        "{service:#}"
    );
    // What somebody changes is changed back by whoever begins to lead.
    let foreign = json!({ "spec": { "endpoints": [] } });
    world.merge(MONITOR, &foreign).await?;
    operator.kill()?;
    let second = world.start("one")?;
    world
        .becomes(MONITOR, "as it was", |now| now["spec"] == monitor["spec"])
        .await?;
    operator.had_all_rights()?;
    second.had_all_rights()?;
    drop(second);
    world.delete(DEFINITION).await?;
    world.remove().await
}

#[tokio::test]
async fn the_webhooks_objects_are_changed_back() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let operator = world.start("one")?;
    let service = format!("{SERVICES}/webhook-service");
    let before = [
        world
            .becomes(WEBHOOK, "there is a webhook", |_| true)
            .await?,
        world
            .becomes(&service, "there is a service", |_| true)
            .await?,
    ];
    let foreign = json!({ "spec": { "replicas": 1, "template": { "spec": { "hostPID": true } } } });
    world.merge(WEBHOOK, &foreign).await?;
    let foreign = json!({ "spec": { "selector": { "app": "else" } } });
    world.merge(&service, &foreign).await?;
    for (path, before) in [WEBHOOK, &service].into_iter().zip(&before) {
        world
            .becomes(path, "as it was", |now| now["spec"] == before["spec"])
            .await?;
    }
    operator.had_all_rights()?;
    drop(operator);
    world.remove().await
}

#[tokio::test]
async fn what_the_server_refuses_is_told_and_mended() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let operator = world.start("one")?;
    let first = world
        .becomes(DAEMONS, "there are daemons", |_| true)
        .await?;
    let wrong = json!({ "requests": { "memory": "1Gi" }, "limits": { "memory": "1Mi" } });
    let change = json!({ "spec": { "daemonResourceRequirements": wrong } });
    world.merge(SPOD, &change).await?;
    let message = world.message("cannot write DaemonSet/spod").await?;
    ensure!(
        message.contains("must be less than or equal to"),
        "{message}"
    );
    ensure!(world.get(SPOD).await?["status"]["state"] == "Error");
    // It is tried again, and that is one event with a count.
    let path = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
    world
        .until("it is told again", async || {
            let events = get(&world.admin, &path).await?.unwrap_or_default();
            let mut events = events["items"].as_array().into_iter().flatten();
            Ok(events
                .any(|event| {
                    event["reason"] == "CannotUpdateSPOD"
                        && event["regarding"]["name"] == "spod"
                        && event["series"]["count"].as_u64() > Some(1)
                })
                .then_some(()))
        })
        .await?;
    let back = json!({ "spec": { "daemonResourceRequirements": null, "verbosity": 1 } });
    world.merge(SPOD, &back).await?;
    world
        .becomes(DAEMONS, "what is right is written", |daemons| {
            pod(daemons)["containers"][0]["env"] != pod(&first)["containers"][0]["env"]
        })
        .await?;
    operator.had_all_rights()?;
    drop(operator);
    world.remove().await
}
