//! `deploy/`, and the operator that makes the rest of it: as the manifests say, and with the rights
//! that they give.
#![expect(
    clippy::print_stdout,
    reason = "what a test passes over is counted by its printed line"
)]

mod ends;
mod metrics;
mod world;
mod writes;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::objects::{create, get};
use tempfile::TempDir;

use self::world::{DAEMONS, NAMESPACE, PODS, QUOTA, SERVICES, SPOD, WEBHOOK, World};
use spo_cluster_tests::manifests::{Objects, chart, kustomized, uninstalling};

const GROUP: &str = "security-profiles-operator.x-k8s.io";
/// Long enough to see what must not happen.
const A_WHILE: Duration = Duration::from_secs(3);

/// What is installed; nothing, with a line that says so, without a kubectl.
fn base() -> Result<Option<Objects>> {
    let found = kustomized()?;
    if found.is_none() {
        println!("skipped: deploy: kubectl: not installed");
    }
    Ok(found)
}

#[test]
fn the_chart_gives_what_the_kustomization_gives() -> Result<()> {
    let Some(mut base) = base()? else {
        return Ok(());
    };
    let Some(mut chart) = chart(None)? else {
        println!(
            "skipped: chart: Go with golang-github-masterminds-sprig-dev and golang-github-ghodss-yaml-dev: not installed"
        );
        return Ok(());
    };
    // They are hooks of the chart, and go by the same names.
    base.extend(uninstalling()?.unwrap_or_default());
    // Helm has definitions in a folder of its own, and whoever installs names the namespace.
    base.retain(|(kind, _, _), _| kind != "CustomResourceDefinition" && kind != "Namespace");
    let spod = (
        "SecurityProfilesOperatorDaemon".to_owned(),
        NAMESPACE.to_owned(),
        "spod".to_owned(),
    );
    chart.remove(&spod).context("the chart has no spod")?;
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&base), names(&chart));
    for (key, object) in &base {
        assert_eq!(chart.get(key), Some(object), "{key:?}");
    }
    Ok(())
}

#[test]
fn the_charts_values_reach_the_objects() -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("values.yaml");
    let values = json!({
        "replicaCount": 1,
        "verbosity": 2,
        "spoImage": { "registry": "example.com", "tag": "v2" },
        "enableAppArmor": true,
        "enableVerifier": true,
        "enableSelinux": false,
        "imagePullSecrets": [{ "name": "pull" }],
        "podAnnotations": { "a": "b" },
        "daemon": { "resources": { "limits": { "memory": "1Gi" } }, "tolerations": [] },
    });
    std::fs::write(&file, values.to_string())?;
    let Some(chart) = chart(Some(&file))? else {
        println!(
            "skipped: chart: Go with golang-github-masterminds-sprig-dev and golang-github-ghodss-yaml-dev: not installed"
        );
        return Ok(());
    };
    let object = |kind: &str, name: &str| {
        let key = (kind.to_owned(), NAMESPACE.to_owned(), name.to_owned());
        chart
            .get(&key)
            .cloned()
            .with_context(|| format!("no {kind} {name}"))
    };
    let operator = object("Deployment", NAMESPACE)?;
    let pod = &operator["spec"]["template"];
    assert_eq!(operator["spec"]["replicas"], 1);
    assert_eq!(pod["metadata"]["annotations"], json!({ "a": "b" }));
    let container = &pod["spec"]["containers"][0];
    assert_eq!(
        container["image"],
        "example.com/security-profiles-operator:v2"
    );
    let spec = object("SecurityProfilesOperatorDaemon", "spod")?["spec"].take();
    let expected = json!({
        "verbosity": 2,
        "enableAppArmor": true,
        "enableVerifier": true,
        "hostProcVolumePath": "/proc",
        "imagePullSecrets": [{ "name": "pull" }],
        "daemonResourceRequirements": { "limits": { "memory": "1Gi" } },
        "selinux": { "enable": false, "options": { "allowedSystemProfiles": ["container"] } },
        "enricher": { "logEnricherSource": "Auditd" },
        "scheduling": { "priorityClassName": "system-node-critical" },
    });
    assert_eq!(spec, expected);
    Ok(())
}

fn pod(daemons: &Value) -> &Value {
    &daemons["spec"]["template"]["spec"]
}

fn variable<'a>(daemons: &'a Value, name: &str) -> &'a str {
    let all = pod(daemons)["containers"][0]["env"].as_array();
    let found = all.into_iter().flatten().find(|one| one["name"] == name);
    found
        .and_then(|one| one["value"].as_str())
        .unwrap_or_default()
}

/// Acceptance 16 to 18, 20 and 21 of the reference, as far as seccomp goes.
#[tokio::test]
async fn the_daemons_follow_the_configuration_and_back() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    for kind in &world.unknown {
        println!("skipped: {kind}: the server does not know this version of it");
    }
    let operator = world.start("one")?;
    let first = world
        .becomes(DAEMONS, "there are daemons", |_| true)
        .await?;
    world
        .becomes(WEBHOOK, "there is a webhook", |_| true)
        .await?;
    for service in ["metrics", "webhook-service"] {
        let path = format!("{SERVICES}/{service}");
        world.becomes(&path, "there is a service", |_| true).await?;
    }
    let spod = world.get(SPOD).await?;
    assert_eq!(
        spod["spec"]["scheduling"]["priorityClassName"],
        "system-node-critical"
    );
    let owner = &first["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], spod["metadata"]["uid"]);
    let image = &pod(&first)["containers"][0]["image"];
    assert_eq!(image, "localhost/security-profiles-operator:v0.1.0");
    world.message("daemon").await?;

    let same = |daemons: &Value| pod(daemons) == pod(&first);
    let arguments = |daemons: &Value| pod(daemons)["containers"][0]["args"].clone();
    let limits = json!({ "limits": { "memory": "256Mi" } });
    for (patch, what, is_so) in [
        (
            json!({ "verbosity": 1 }),
            "verbosity",
            Box::new(|daemons: &Value| variable(daemons, "SPO_VERBOSITY") == "1")
                as Box<dyn Fn(&Value) -> bool>,
        ),
        (
            json!({ "enableMemoryOptimization": true }),
            "memory optimisation",
            Box::new(|daemons| arguments(daemons) == json!(["daemon", "--with-mem-optim=true"])),
        ),
        (
            json!({ "enableProfiling": true }),
            "profiling",
            Box::new(|daemons| variable(daemons, "SPO_PROFILING") == "true"),
        ),
        (
            json!({ "daemonResourceRequirements": limits.clone() }),
            "resources",
            Box::new(|daemons| pod(daemons)["containers"][0]["resources"] == limits),
        ),
    ] {
        world.merge(SPOD, &json!({ "spec": patch })).await?;
        world.becomes(DAEMONS, what, is_so).await?;
        let fields = patch.as_object().into_iter().flatten();
        let back: Value = fields
            .map(|(field, _)| (field.clone(), Value::Null))
            .collect();
        world.merge(SPOD, &json!({ "spec": back })).await?;
        world.becomes(DAEMONS, "as it was at first", same).await?;
    }

    // What this version does not have changes nothing, and is told.
    let generation = world.get(DAEMONS).await?["metadata"]["generation"].clone();
    let asked = json!({ "spec": { "selinux": { "enable": true }, "enableAppArmor": true } });
    world.merge(SPOD, &asked).await?;
    let message = world.message("not supported by this version").await?;
    ensure!(
        message.ends_with("spec.enableAppArmor, spec.selinux.enable"),
        "{message}"
    );
    assert_eq!(
        world.get(DAEMONS).await?["metadata"]["generation"],
        generation
    );
    operator.had_all_rights()?;
    world.remove().await
}

#[tokio::test]
async fn what_somebody_else_changes_is_changed_back() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let operator = world.start("one")?;
    let first = world
        .becomes(DAEMONS, "there are daemons", |_| true)
        .await?;
    let is_new = |daemons: &Value| daemons["metadata"]["uid"] != first["metadata"]["uid"];
    world.delete(DAEMONS).await?;
    let second = world
        .becomes(DAEMONS, "there are daemons again", is_new)
        .await?;
    assert_eq!(pod(&second), pod(&first));

    let foreign = json!({ "spec": { "template": { "spec": {
        "hostPID": true,
        "tolerations": [],
    } } } });
    world.merge(DAEMONS, &foreign).await?;
    let same = |daemons: &Value| pod(daemons) == pod(&first);
    world.becomes(DAEMONS, "as they were", same).await?;

    let metrics = format!("{SERVICES}/metrics");
    let before = world.get(&metrics).await?;
    let foreign = json!({ "spec": { "selector": { "app": "else" } } });
    world.merge(&metrics, &foreign).await?;
    let same = |service: &Value| service["spec"] == before["spec"];
    world.becomes(&metrics, "as it was", same).await?;

    // Nothing is written for nothing.
    let versions = async || -> Result<Vec<Value>> {
        let mut versions = Vec::new();
        for path in [DAEMONS, WEBHOOK, metrics.as_str(), SPOD] {
            versions.push(world.get(path).await?["metadata"]["generation"].clone());
        }
        Ok(versions)
    };
    let now = versions().await?;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(versions().await?, now);

    // Whoever deletes the configuration wants it gone, and the daemons with it.
    world.delete(SPOD).await?;
    world
        .until("the daemons are gone", async || {
            let found = get(&world.admin, DAEMONS).await?;
            Ok(found.is_none().then_some(()))
        })
        .await?;
    tokio::time::sleep(A_WHILE).await;
    let found = get(&world.admin, SPOD).await?;
    assert_eq!(found, None);
    operator.had_all_rights()?;
    world.remove().await
}

#[tokio::test]
async fn of_two_operators_one_leads_and_the_other_takes_over() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let mut operators = vec![world.start("one")?, world.start("two")?];
    let first = world
        .becomes(DAEMONS, "there are daemons", |_| true)
        .await?;
    let leader = world.leader().await?.context("nobody leads")?;
    let place = operators
        .iter()
        .position(|operator| operator.identity == leader);
    let mut killed = operators.remove(place.context("a stranger leads")?);
    killed.kill()?;
    // Nobody sees this change.
    let foreign = json!({ "spec": { "template": { "spec": { "hostPID": true } } } });
    world.merge(DAEMONS, &foreign).await?;
    let same = |daemons: &Value| pod(daemons) == pod(&first);
    world.becomes(DAEMONS, "as they were", same).await?;
    assert_eq!(world.leader().await?.as_ref(), Some(&operators[0].identity));

    // One that begins anew under the same name goes on.
    let mut last = operators.remove(0);
    last.kill()?;
    world
        .merge(SPOD, &json!({ "spec": { "verbosity": 1 } }))
        .await?;
    let again = world.start(&last.identity)?;
    let told = |daemons: &Value| variable(daemons, "SPO_VERBOSITY") == "1";
    world.becomes(DAEMONS, "told to log more", told).await?;
    for operator in [&killed, &last, &again] {
        operator.had_all_rights()?;
    }
    world.remove().await
}

/// A node that nobody serves: pods that are put on it stay as they are.
async fn fake_node(world: &World, name: &str) -> Result<()> {
    let path = format!("/api/v1/nodes/{name}");
    world.delete(&path).await?;
    let room = json!({ "cpu": "4", "memory": "8Gi", "pods": "20", "ephemeral-storage": "9Gi" });
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": { "kubernetes.io/os": "linux" } },
    });
    create(&world.admin, "/api/v1/nodes", &node).await??;
    // It is believed for 40 seconds.
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let ready = json!([{
        "type": "Ready", "status": "True", "reason": "Test", "message": "it is not there",
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    }]);
    let status = json!({ "status": {
        "allocatable": room, "capacity": room, "conditions": ready,
    } });
    world.merge(&format!("{path}/status"), &status).await?;
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_lost_its_folder_begins_anew_but_not_again_and_again() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let node = "deploy-test";
    forget_profile(&world).await?;
    fake_node(&world, node).await?;
    // No other node of the cluster gets a daemon.
    let here = json!({ "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{
            "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }],
        }] },
    } });
    let configuration = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "SecurityProfilesOperatorDaemon",
        "metadata": { "name": "spod", "namespace": NAMESPACE },
        "spec": { "scheduling": { "affinity": here }, "webhook": { "staticConfig": true } },
    });
    let collection = SPOD.trim_end_matches("/spod");
    create(&world.admin, collection, &configuration).await??;
    world.delete(QUOTA).await?;
    let operator = world.start("one")?;
    // The truth about a node whose daemon does not run.
    world.message("not on deploy-test").await?;
    let spod = world.get(SPOD).await?;
    assert_eq!(spod["status"]["state"], "Creating");
    assert_eq!(spod["status"]["conditions"][0]["status"], "False");

    let profiles = format!("/apis/{GROUP}/v1/seccompprofiles");
    let statuses = format!("/apis/{GROUP}/v1/securityprofilenodestatuses");
    let profile = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "SeccompProfile",
        "metadata": { "name": "deploy-test" },
        "spec": { "defaultAction": "SCMP_ACT_LOG" },
    });
    let profile = create(&world.admin, &profiles, &profile).await??;
    let report = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "SecurityProfileNodeStatus",
        "metadata": {
            "name": "seccompprofile-deploy-test-deploy-test",
            "labels": { "spo.x-k8s.io/profile-state": "Error" },
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1"), "kind": "SeccompProfile",
                "name": "deploy-test", "uid": profile["metadata"]["uid"], "controller": true,
            }],
        },
        "spec": { "nodeName": node },
    });
    create(&world.admin, &statuses, &report).await??;
    let path = format!("{statuses}/seccompprofile-deploy-test-deploy-test");
    let before = daemon_on(&world, node)
        .await?
        .context("no daemon on the node")?;
    let status = json!({ "status": {
        "status": "Error", "reason": "FolderUnusable", "message": "the folder is gone",
    } });
    world.merge(&format!("{path}/status"), &status).await?;
    let name = before["metadata"]["name"].as_str().unwrap_or_default();
    let pod = format!("{PODS}/{name}");
    world
        .becomes(&pod, "the pod is deleted", |pod| {
            !pod["metadata"]["deletionTimestamp"].is_null()
        })
        .await?;
    // There is no kubelet that would end it.
    let now = json!({ "gracePeriodSeconds": 0 });
    spo_cluster_tests::objects::send(&world.admin, http::Method::DELETE, &pod, Some(&now))
        .await??;
    let after = world
        .until("another pod is there", async || {
            let found = daemon_on(&world, node).await?;
            Ok(found.filter(|pod| pod["metadata"]["uid"] != before["metadata"]["uid"]))
        })
        .await?;
    // The same report is still there.
    let again = json!({ "metadata": { "annotations": { "touched": "1" } } });
    world.merge(&path, &again).await?;
    tokio::time::sleep(A_WHILE).await;
    let still = daemon_on(&world, node)
        .await?
        .context("no daemon on the node")?;
    assert_eq!(still["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(still["metadata"]["deletionTimestamp"], Value::Null);
    let events = world.get("/api/v1/namespaces/default/events").await?;
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let told = events.iter().any(|event| {
        event["reason"] == "RestartedDaemon" && event["involvedObject"]["name"] == node
    });
    ensure!(told, "there is no event on the node");

    operator.had_all_rights()?;
    drop(operator);
    forget_profile(&world).await?;
    world.delete(&format!("/api/v1/nodes/{node}")).await?;
    world.remove().await
}

/// Removes the profile that this leaves when it fails.
async fn forget_profile(world: &World) -> Result<()> {
    let path = format!("/apis/{GROUP}/v1/seccompprofiles/deploy-test");
    if get(&world.admin, &path).await?.is_some() {
        let free = json!({ "metadata": { "finalizers": null } });
        world.merge(&path, &free).await?;
    }
    world.delete(&path).await?;
    let path = format!(
        "/apis/{GROUP}/v1/securityprofilenodestatuses/seccompprofile-deploy-test-deploy-test"
    );
    world.delete(&path).await
}

async fn daemon_on(world: &World, node: &str) -> Result<Option<Value>> {
    let pods = world
        .get(&format!("{PODS}?labelSelector=name%3Dspod"))
        .await?;
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    Ok(pods.into_iter().find(|pod| pod["spec"]["nodeName"] == node))
}
