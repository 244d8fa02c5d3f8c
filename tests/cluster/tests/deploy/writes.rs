//! Objects that the operator writes, and what it says when it cannot.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo::api::webhooks::{MUTATING, VALIDATING};
use spo_cluster_tests::crd;
use spo_cluster_tests::objects::{create, get};

use crate::world::{DAEMONS, NAMESPACE, SERVICES, SPOD, WEBHOOK, World};
use crate::{A_WHILE, GROUP, base, pod, variable};

const MONITOR: &str = "/apis/monitoring.coreos.com/v1/namespaces/security-profiles-operator/servicemonitors/security-profiles-operator-monitor";
const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/servicemonitors.monitoring.coreos.com";
const BINDING: &str = "binding.spo.io";
const RECORDING: &str = "recording.spo.io";
/// Somebody else's, with the same name for its kind.
const OTHER: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/others.monitoring.coreos.com";

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
    // A definition that the server does not serve yet: another one has the name of its kind.
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let mut other = crd::monitors();
    other["metadata"]["name"] = json!("others.monitoring.coreos.com");
    other["spec"]["names"] =
        json!({ "plural": "others", "singular": "servicemonitor", "kind": "ServiceMonitor" });
    world.delete(OTHER).await?;
    crd::apply(&world.admin, &other).await?;
    create(&world.admin, definitions, &crd::monitors()).await??;
    world
        .becomes(DEFINITION, "its names are taken", |definition| {
            let conditions = definition["status"]["conditions"].as_array();
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|one| one["type"] == "NamesAccepted" && one["status"] == "False")
            })
        })
        .await?;
    tokio::time::sleep(A_WHILE).await;
    let status = world.get(SPOD).await?["status"].take();
    ensure!(status["state"] != "Error", "{status:#}");
    world.delete(OTHER).await?;
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
async fn daemons_may_record_while_that_is_switched_on_and_no_longer() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let operator = world.start("one")?;
    let daemons = world.becomes(DAEMONS, "there are daemons", |_| true);
    drop(daemons.await?);
    // As kubectl auth can-i asks.
    let may = async |verb: &str, resource: &str| -> Result<bool> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{NAMESPACE}:spod"),
                "resourceAttributes": { "group": GROUP, "resource": resource, "verb": verb },
            },
        });
        let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let said = create(&world.admin, reviews, &review).await??;
        Ok(said["status"]["allowed"] == true)
    };
    let becomes = async |what: &str, may_record: bool| {
        world
            .until(what, async || {
                let all = [
                    may("update", "seccompprofiles").await?,
                    may("create", "seccompprofiles").await?,
                    may("list", "profilerecordings").await?,
                ];
                Ok((all == [may_record; 3]).then_some(()))
            })
            .await
    };
    becomes("nobody records at first", false).await?;
    ensure!(may("list", "seccompprofiles").await?);
    for recorder in ["enableBpfRecorder", "enableLogEnricher"] {
        let switch = |on: Option<bool>| json!({ "spec": { "enricher": { recorder: on } } });
        world.merge(SPOD, &switch(Some(true))).await?;
        becomes(&format!("{recorder}: daemons may record"), true).await?;
        world.merge(SPOD, &switch(None)).await?;
        becomes(&format!("{recorder}: they no longer may"), false).await?;
    }
    let may_verify = async |what: &str, wanted: bool| {
        world
            .until(what, async || {
                let all = may("list", "profilebindings").await?;
                Ok((all == wanted).then_some(()))
            })
            .await
    };
    may_verify("nobody verifies at first", false).await?;
    for (on, what) in [
        (Some(true), "daemons may verify"),
        (None, "they no longer may"),
    ] {
        let switch = json!({ "spec": { "enableVerifier": on } });
        world.merge(SPOD, &switch).await?;
        may_verify(what, on.is_some()).await?;
        ensure!(!may("update", "seccompprofiles").await?);
    }
    // Also without a configuration.
    let on = json!({ "spec": { "enricher": { "enableBpfRecorder": true } } });
    world.merge(SPOD, &on).await?;
    becomes("daemons may record again", true).await?;
    world.delete(SPOD).await?;
    becomes("without a configuration, they may not", false).await?;
    operator.had_all_rights()?;
    drop(operator);
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
    // It is tried again though nothing changes, and that is one event with a count.
    let path = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
    let count = async || {
        let events = world.get(&path).await?["items"].take();
        let events = events.as_array().cloned().unwrap_or_default();
        let told = events.iter().find(|event| {
            event["reason"] == "CannotUpdateSPOD" && event["regarding"]["name"] == "spod"
        });
        anyhow::Ok(told.and_then(|event| event["series"]["count"].as_u64()))
    };
    let before = world.until("it is told again", count).await?;
    world
        .until("it is told again and again", async || {
            Ok((count().await? >= Some(before + 3)).then_some(()))
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

/// Whoever says that he manages the webhook himself has all its objects left as they are.
#[tokio::test]
async fn a_static_webhook_is_left_alone() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let registrations = "/apis/admissionregistration.k8s.io/v1";
    let registration = |kind: &str, name: &str| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": { "name": name, "annotations": { "cert-manager.io/inject-ca-from": "a/b" } },
            "webhooks": [{
                "name": "binding.spo.io",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Ignore",
                "clientConfig": { "service": { "name": "webhook-service", "namespace": NAMESPACE } },
                "rules": [],
            }],
        })
    };
    let mutating = format!("{registrations}/mutatingwebhookconfigurations");
    let validating = format!("{registrations}/validatingwebhookconfigurations");
    let theirs = [
        (&mutating, "MutatingWebhookConfiguration", MUTATING),
        (&validating, "ValidatingWebhookConfiguration", VALIDATING),
    ];
    let mut before = Vec::new();
    for (collection, kind, name) in theirs {
        let path = format!("{collection}/{name}");
        world.delete(&path).await?;
        let made = create(&world.admin, collection, &registration(kind, name)).await??;
        before.push((path, made["metadata"]["resourceVersion"].clone()));
    }
    let configuration = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "SecurityProfilesOperatorDaemon",
        "metadata": { "name": "spod", "namespace": NAMESPACE },
        "spec": { "webhook": { "staticConfig": true } },
    });
    create(&world.admin, SPOD.trim_end_matches("/spod"), &configuration).await??;
    let operator = world.start("one")?;
    world.message("daemon").await?;
    tokio::time::sleep(A_WHILE).await;
    for (path, version) in &before {
        let now = world.get(path).await?;
        ensure!(now["metadata"]["resourceVersion"] == *version, "{now:#}");
    }
    ensure!(get(&world.admin, WEBHOOK).await?.is_none());

    // What is managed from now on is left where it is when it no longer is.
    let manages = json!({ "spec": { "webhook": { "staticConfig": false } } });
    world.merge(SPOD, &manages).await?;
    world
        .becomes(WEBHOOK, "there is a webhook", |_| true)
        .await?;
    world
        .becomes(&before[0].0, "ours is in its place", |object| {
            let service = &object["webhooks"][0]["clientConfig"]["service"];
            let annotations = &object["metadata"]["annotations"];
            service["path"] == "/mutate-v1-pod-binding"
                && object["webhooks"][0]["failurePolicy"] == "Fail"
                && annotations["cert-manager.io/inject-ca-from"] == "a/b"
        })
        .await?;
    let leaves = json!({ "spec": { "verbosity": 1, "webhook": { "staticConfig": true } } });
    world.merge(SPOD, &leaves).await?;
    world
        .becomes(DAEMONS, "told to log more", |daemons| {
            variable(daemons, "SPO_VERBOSITY") == "1"
        })
        .await?;
    let webhook = world.get(WEBHOOK).await?;
    ensure!(variable(&webhook, "SPO_VERBOSITY") == "0", "{webhook:#}");
    operator.had_all_rights()?;
    drop(operator);
    for (path, _) in &before {
        world.delete(path).await?;
    }
    world.remove().await
}

#[tokio::test]
async fn pods_are_marked_while_a_recorder_is_switched_on() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let path =
        format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{MUTATING}");
    let world = World::install(&base).await?;
    world.delete(&path).await?;
    let operator = world.start("one")?;
    world.becomes(SPOD, "there is one", |_| true).await?;
    let named = |object: &Value| -> Vec<String> {
        let webhooks = object["webhooks"].as_array().into_iter().flatten();
        let names = webhooks.filter_map(|webhook| webhook["name"].as_str());
        names.map(str::to_owned).collect()
    };
    world
        .becomes(&path, "bindings count always", |object| {
            named(object) == [BINDING]
        })
        .await?;
    let on = json!({ "spec": { "enricher": { "enableBpfRecorder": true } } });
    world.merge(SPOD, &on).await?;
    world
        .becomes(&path, "both are there", |object| {
            named(object) == [BINDING, RECORDING]
        })
        .await?;
    let selector = json!({ "matchLabels": { "example.com/asks": "yes" } });
    let option = json!({ "name": RECORDING, "objectSelector": selector });
    let options = json!({ "spec": { "webhook": { "options": [option] } } });
    world.merge(SPOD, &options).await?;
    world
        .becomes(&path, "as it is asked for", |object| {
            object["webhooks"][1]["objectSelector"] == selector
        })
        .await?;
    let off = json!({ "spec": { "enricher": null, "webhook": null } });
    world.merge(SPOD, &off).await?;
    world
        .becomes(&path, "nobody is asked about recording", |object| {
            named(object) == [BINDING]
        })
        .await?;
    operator.had_all_rights()?;
    drop(operator);
    world.remove().await
}
