//! Certificates that have expired while nobody looked.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use spo::server::certificates::{Stored, authority, serving};
use spo_cluster_tests::objects::get;

use crate::world::{MUTATING, OWN, REGISTRATION, World};

const AUTHORITY: &str = "security-profiles-operator-ca";
const SERVER: &str = "webhook-server-cert";
/// Where the webhook finds its certificate.
const MOUNTED: &str = "/tmp/k8s-webhook-server/serving-certs/tls.crt";
const LONG: SignedDuration = SignedDuration::from_hours(24 * 365 * 20);

fn path(secret: &str) -> String {
    format!("/api/v1/namespaces/{OWN}/secrets/{secret}")
}

async fn stored(world: &World, name: &str) -> Result<Stored> {
    let secret = get(&world.admin, &path(name)).await?.context("no secret")?;
    let take = |key: &str| -> Result<Vec<u8>> {
        let value: ByteString = serde_json::from_value(secret["data"][key].clone())?;
        Ok(value.0)
    };
    Ok(Stored {
        certificate: take("tls.crt")?,
        key: take("tls.key")?,
        bundle: take("ca.crt")?,
    })
}

async fn put(world: &World, name: &str, stored: &Stored) -> Result<()> {
    let data = json!({
        "tls.crt": ByteString(stored.certificate.clone()),
        "tls.key": ByteString(stored.key.clone()),
        "ca.crt": ByteString(stored.bundle.clone()),
    });
    world.merge(&path(name), &json!({ "data": data })).await?;
    Ok(())
}

/// Waits until a Secret has another certificate than this.
async fn renewed(world: &World, name: &str, old: &Stored) -> Result<Stored> {
    let new = world.until("the certificate is renewed", async || {
        let now = stored(world, name).await?;
        Ok((now.certificate != old.certificate).then_some(now))
    });
    new.await
}

pub(crate) async fn what_has_expired_is_made_anew_and_trusted(world: &World) -> Result<()> {
    let now = Timestamp::now();
    let then = now - LONG;
    let names = [format!("webhook-service.{OWN}.svc")];

    // The server's has expired, and the authority has not.
    let own = stored(world, AUTHORITY).await?;
    let expired = serving(None, &own, &names, then)?.write;
    let (expired, _) = expired.context("no certificate")?;
    put(world, SERVER, &expired).await?;
    let new = renewed(world, SERVER, &expired).await?;
    ensure!(new.bundle == own.bundle, "the authority is another");
    ensure!(
        serving(Some(&new), &own, &names, now)?.write.is_none(),
        "it is not right"
    );
    world.webhook_answers().await?;

    // All has expired, and clients trust what has.
    let (old, _) = authority(None, then)?.write.context("no authority")?;
    let (expired, _) = serving(None, &old, &names, then)?.write.context("none")?;
    put(world, SERVER, &expired).await?;
    put(world, AUTHORITY, &old).await?;
    let new = renewed(world, AUTHORITY, &old).await?;
    ensure!(
        authority(Some(&new), now)?.write.is_none(),
        "it is not right"
    );
    let server = world.until("the server's is of the new one", async || {
        let server = stored(world, SERVER).await?;
        let plan = serving(Some(&server), &new, &names, now)?;
        Ok(plan.write.is_none().then_some(server))
    });
    let server = server.await?;
    let bundle = json!(ByteString(new.bundle.clone()));
    for registration in [REGISTRATION, MUTATING] {
        world
            .becomes(registration, "the new one is trusted", |registration| {
                let webhooks = registration["webhooks"].as_array();
                webhooks.is_some_and(|webhooks| {
                    webhooks
                        .iter()
                        .all(|webhook: &Value| webhook["clientConfig"]["caBundle"] == bundle)
                })
            })
            .await?;
    }
    // A kubelet renews what a pod has mounted within some two minutes, or when the pod changes.
    World::kubectl(&[
        "--namespace",
        OWN,
        "annotate",
        "pods",
        "--selector=name=security-profiles-operator-webhook",
        "spo-test/look=now",
    ])?;
    for id in world.node.processes("webhook")? {
        let mounted = format!("/proc/{id}/root{MOUNTED}");
        world
            .until("what the webhook reads is renewed", async || {
                let now = fs::read(&mounted)?;
                Ok((now == server.certificate).then_some(()))
            })
            .await?;
    }
    // The API server connects anew when it has learnt whom to trust, and nothing says when it has.
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.webhook_answers().await
}
