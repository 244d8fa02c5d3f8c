//! Profiles that this version cannot read, because a definition of another version let them in.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};
use spo_cluster_tests::access::{bearer, namespace, remove_namespace, service_account_config};
use spo_cluster_tests::crd;
use spo_cluster_tests::files::file;
use spo_cluster_tests::objects::{create, send};
use spo_cluster_tests::web::{Tls, https_get};

use crate::policy::{account, pod, until};
use crate::server::{GROUP, Ground, Webhook, profile};

fn naming(name: &str) -> Value {
    let path = format!("operator/{name}.json");
    let mut pod = pod("pod");
    pod["spec"]["securityContext"] =
        json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": path } });
    pod
}

#[tokio::test]
async fn a_profile_that_cannot_be_read_is_for_nobody_and_holds_nobody_up() -> Result<()> {
    let ground = Ground::new().await?;
    let admin = &ground.admin;
    let profiles = format!("/apis/{GROUP}/v1/seccompprofiles");
    let names = ["unreadable", "readable"];
    let remove = async || -> Result<()> {
        for name in names {
            let path = format!("{profiles}/{name}");
            // It need not be there.
            drop(send(admin, Method::DELETE, &path, None).await?);
        }
        Ok(())
    };
    remove().await?;

    // Another version, in which namespaces are named by a word.
    let ours = file("deploy/crds/seccompprofiles.yaml")?.object;
    let mut other = ours.clone();
    for version in other["spec"]["versions"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        spec["properties"]["namespaceSelector"] = json!({ "type": "string" });
    }
    crd::apply(admin, &other).await?;
    let spec = json!({ "defaultAction": "SCMP_ACT_LOG", "namespaceSelector": "trusted" });
    let made = create(
        admin,
        &profiles,
        &profile("SeccompProfile", names[0], &spec),
    )
    .await?;
    crd::apply(admin, &ours).await?;
    made?;

    // It is ready, with the object there, and hears of what comes later.
    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    let team = namespace(admin).await?;
    account(&ground, &team).await?;
    let pods = format!("/api/v1/namespaces/{team}/pods?dryRun=All");
    let refused = create(admin, &pods, &naming(names[0])).await?;
    let refusal = refused.expect_err("nobody knows for whom the profile is");
    for part in [
        "SeccompProfile `unreadable`",
        "cannot read for which namespaces",
    ] {
        ensure!(refusal.message.contains(part), "{refusal}");
    }
    let scope = json!({ "matchLabels": { "spo-test/tier": "trusted" } });
    let spec = json!({ "defaultAction": "SCMP_ACT_LOG", "namespaceSelector": scope });
    create(
        admin,
        &profiles,
        &profile("SeccompProfile", names[1], &spec),
    )
    .await??;
    until(&ground, &pods, &naming(names[1]), false).await?;

    let reader = bearer(&service_account_config(admin, &ground.namespace, "reader").await?)?;
    let get = json!([{ "nonResourceURLs": ["/metrics-spod"], "verbs": ["get"] }]);
    ground.allow("reader", "metrics", &get).await?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let counted = async |expected: &str| -> Result<()> {
        let tls = Tls {
            authorities: &webhook.authority.bundle,
            name: "localhost",
            protocols: &[],
        };
        let headers = [reader.clone()];
        let (_, said) = https_get(webhook.port(), &tls, "/metrics-spod", &headers).await?;
        let line = format!("unreadable_objects{{resource=\"seccompprofiles\"}} {expected}\n");
        ensure!(said.contains(&line), "{said}");
        Ok(())
    };
    counted("1").await?;

    // Without it, the pod is taken, and nothing is counted.
    remove().await?;
    until(&ground, &pods, &naming(names[0]), true).await?;
    counted("0").await?;
    webhook.stop()?;
    remove_namespace(admin, &team).await?;
    ground.remove().await
}
