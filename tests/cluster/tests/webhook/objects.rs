//! Objects that cannot be used are refused, and nothing else is.

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, Request};
use kube::client::Body;
use serde_json::{Value, json};
use spo_cluster_tests::objects::{create, get, replace, send};

use crate::server::{GROUP, Ground, Webhook, probe, profile};

/// For each kind: the collection, an object that its definition takes, and what is said to it.
fn bad(namespace: &str) -> Vec<(String, Value, &'static str)> {
    let cluster = |plural: &str| format!("/apis/{GROUP}/v1/{plural}");
    let inside = |plural: &str| format!("/apis/{GROUP}/v1/namespaces/{namespace}/{plural}");
    let selector =
        json!({ "matchExpressions": [{ "key": "a", "operator": "Near", "values": ["b"] }] });
    vec![
        (
            cluster("seccompprofiles"),
            probe(),
            "spec.syscalls[0].args[0].index: `index` must not be above 5",
        ),
        (
            cluster("selinuxprofiles"),
            profile(
                "SelinuxProfile",
                "bad",
                &json!({ "allow": { "var_log_t": { "file": ["read) (allow"] } } }),
            ),
            "spec.allow.var_log_t.file[0]: `read) (allow` cannot be a permission's name",
        ),
        (
            cluster("rawselinuxprofiles"),
            profile(
                "RawSelinuxProfile",
                "bad",
                &json!({ "policy": "(blockinherit container)\n(block inner)\n" }),
            ),
            "spec.policy: `block` is not allowed in a raw profile (line 2 of the policy)",
        ),
        (
            cluster("apparmorprofiles"),
            profile(
                "AppArmorProfile",
                "bad",
                &json!({ "abstract": { "filesystem": { "readOnlyPaths": ["/a", "etc"] } } }),
            ),
            "spec.abstract.filesystem.readOnlyPaths[1]: the path `etc` does not begin with `/`",
        ),
        (
            inside("profilebindings"),
            profile(
                "ProfileBinding",
                "bad",
                &json!({ "profileRef": { "kind": "SeccompProfile", "name": "a" }, "image": "b", "podSelector": selector }),
            ),
            "`Near` is no operator",
        ),
        (
            inside("profilerecordings"),
            profile(
                "ProfileRecording",
                "bad",
                &json!({ "kind": "SeccompProfile", "recorder": "Bpf", "podSelector": selector }),
            ),
            "`Near` is no operator",
        ),
        (
            inside("securityprofilesoperatordaemons"),
            profile(
                "SecurityProfilesOperatorDaemon",
                "bad",
                &json!({ "webhook": { "options": [{ "name": "binding.spo.io", "namespaceSelector": selector }] } }),
            ),
            "`Near` is no operator",
        ),
    ]
}

#[tokio::test]
async fn bad_objects_of_every_kind_are_refused_with_what_is_wrong() -> Result<()> {
    let ground = Ground::new().await?;
    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    for (path, object, expected) in bad(&ground.namespace) {
        for path in [path.clone(), format!("{path}?dryRun=All")] {
            let Err(refusal) = create(&ground.admin, &path, &object).await? else {
                bail!("{path} is taken: {object}");
            };
            ensure!(refusal.message.contains(expected), "{path}: {refusal}");
            ensure!(refusal.code == 422, "{path}: {refusal}");
        }
    }
    webhook.stop()?;
    ground.remove().await
}

#[tokio::test]
async fn good_objects_pass_and_a_dry_run_leaves_nothing() -> Result<()> {
    let ground = Ground::new().await?;
    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    let collection = format!("/apis/{GROUP}/v1/seccompprofiles");
    let good = profile(
        "SeccompProfile",
        "good",
        &json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{ "names": ["exit_group", "futex", "raed"], "action": "SCMP_ACT_ALLOW" }],
        }),
    );
    let dry = format!("{collection}?dryRun=All");
    create(&ground.admin, &dry, &good).await??;
    let path = format!("{collection}/good");
    ensure!(get(&ground.admin, &path).await?.is_none(), "it is there");
    let generated = json!({ "generateName": "good-" });
    let mut unnamed = good.clone();
    unnamed["metadata"] = generated;
    create(&ground.admin, &dry, &unnamed).await??;

    // What is likely not meant is told, and taken.
    let request = Request::post(&dry)
        .header("Content-Type", "application/json")
        .body(Body::from(good.to_string().into_bytes()))?;
    let answer = ground.admin.send(request).await?;
    let warnings: Vec<_> = answer.headers().get_all("Warning").iter().collect();
    let said = format!("{warnings:?}");
    ensure!(said.contains("did you mean `read`?"), "{said}");

    create(&ground.admin, &collection, &good).await??;
    send(&ground.admin, Method::DELETE, &path, None).await??;
    webhook.stop()?;
    ground.remove().await
}

#[tokio::test]
async fn bad_objects_from_before_can_be_dealt_with() -> Result<()> {
    let ground = Ground::new().await?;
    let admin = &ground.admin;
    let mut made = Vec::new();
    for (collection, mut object, _) in bad(&ground.namespace) {
        object["metadata"]["name"] = json!("before");
        object["metadata"]["finalizers"] = json!(["example.com/held"]);
        // Without a webhook it is taken.
        create(admin, &collection, &object).await??;
        made.push(format!("{collection}/before"));
    }
    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    for path in made {
        let read = async || get(admin, &path).await?.context("it is gone");
        let mut object = read().await?;
        if path.contains("seccompprofiles") {
            object["status"] = json!({ "status": "Error" });
            replace(admin, &format!("{path}/status"), &object).await??;
            object = read().await?;
            ensure!(object["status"]["status"] == "Error", "{object}");
        }
        object["metadata"]["labels"] = json!({ "a": "b" });
        replace(admin, &path, &object).await??;
        send(admin, Method::DELETE, &path, None).await??;
        let mut object = read().await?;
        ensure!(
            !object["metadata"]["deletionTimestamp"].is_null(),
            "{object}"
        );
        object["metadata"]["finalizers"] = json!([]);
        replace(admin, &path, &object).await??;
        ensure!(get(admin, &path).await?.is_none(), "{path} is still there");
    }
    webhook.stop()?;
    ground.remove().await
}

/// The reference's own webhook refuses what it cannot look at; ours beside it do not.
#[tokio::test]
async fn a_webhook_that_is_gone_holds_up_what_it_is_meant_to() -> Result<()> {
    let ground = Ground::new().await?;
    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    webhook.stop()?;
    for (path, object, _) in bad(&ground.namespace) {
        let path = format!("{path}?dryRun=All");
        let answer = create(&ground.admin, &path, &object).await?;
        let held = path.contains("rawselinuxprofiles");
        ensure!(answer.is_err() == held, "{path}: {answer:?}");
        if let Err(refusal) = answer {
            ensure!(
                refusal
                    .message
                    .contains("rawselinuxprofile-validation.spo.io"),
                "{refusal}"
            );
        }
    }
    ground.remove().await
}
