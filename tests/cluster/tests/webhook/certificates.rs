//! Certificates are kept current while webhooks serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use spo::api::daemon::WebhookOptions;
use spo::api::webhooks::{Reach, VALIDATIONS};
use spo::controller::certificates::{
    AUTHORITY, CertificatesError, METRICS, WEBHOOK, reconcile, run,
};
use spo::server::certificates::{Stored, serving};
use spo::telemetry::metrics::Metrics;
use spo_cluster_tests::access::service_account;
use spo_cluster_tests::objects::create;
use spo_cluster_tests::waiting::until;
use tokio_util::sync::CancellationToken;

use crate::server::{
    GROUP, Ground, INTERVAL, PATIENCE, Webhook, certificate, profile, register, registered,
};

/// What the operator may do for this.
async fn operator(ground: &Ground) -> Result<Client> {
    let account = service_account(&ground.admin, &ground.namespace, "operator").await?;
    let rules = json!([
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get", "list", "update", "watch"] },
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            "verbs": ["get", "list", "patch", "watch"],
        },
    ]);
    ground.allow("operator", "certificates", &rules).await?;
    // A server learns of a role a moment after it has taken it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(account)
}

async fn stored(ground: &Ground, name: &str) -> Result<Stored> {
    let secrets: Api<Secret> = Api::namespaced(ground.admin.clone(), &ground.namespace);
    let mut data = secrets.get(name).await?.data.context("no data")?;
    let mut take = |key: &str| data.remove(key).map(|bytes| bytes.0).context("no key");
    Ok(Stored {
        certificate: take("tls.crt")?,
        key: take("tls.key")?,
        bundle: take("ca.crt")?,
    })
}

async fn set(ground: &Ground, name: &str, patch: &Value) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(ground.admin.clone(), &ground.namespace);
    let params = PatchParams::default();
    secrets.patch(name, &params, &Patch::Merge(patch)).await?;
    Ok(())
}

/// Every bundle that webhooks have.
async fn bundles(ground: &Ground) -> Result<Vec<Value>> {
    let object = registered(&ground.admin).await?;
    let webhooks = object["webhooks"].as_array().context("no webhooks")?;
    let bundle = |webhook: &Value| webhook["clientConfig"]["caBundle"].clone();
    Ok(webhooks.iter().map(bundle).collect())
}

/// Every version that there is of what is kept.
async fn versions(ground: &Ground) -> Result<Vec<Option<String>>> {
    let secrets: Api<Secret> = Api::namespaced(ground.admin.clone(), &ground.namespace);
    let mut versions = Vec::new();
    for name in [AUTHORITY, WEBHOOK, METRICS] {
        versions.push(secrets.get(name).await?.metadata.resource_version);
    }
    let object = registered(&ground.admin).await?;
    let version = object["metadata"]["resourceVersion"].as_str();
    versions.push(version.map(str::to_owned));
    Ok(versions)
}

#[tokio::test]
async fn secrets_and_bundles_are_kept_current() -> Result<()> {
    let ground = Ground::new().await?;
    let operator = operator(&ground).await?;
    let namespace = ground.namespace.clone();
    let metrics = Arc::new(Metrics::new("")?);
    let reach = Reach::Service(namespace.clone());
    register(&ground, &reach, b"", &[]).await?;
    let now = Timestamp::now();
    // Two operators at once: a conflict is all that may happen.
    let both = tokio::join!(
        reconcile(&operator, &namespace, now, &metrics),
        reconcile(&operator, &namespace, now, &metrics)
    );
    for result in [both.0, both.1] {
        match result {
            Ok(_) => {}
            Err(CertificatesError::Cluster {
                source: Error::Api(status),
                ..
            }) if status.code == 409 => {}
            Err(error) => return Err(error).context("another error than a conflict"),
        }
    }
    reconcile(&operator, &namespace, now, &metrics).await?;
    let before = versions(&ground).await?;
    reconcile(&operator, &namespace, now, &metrics).await?;
    ensure!(
        versions(&ground).await? == before,
        "there was nothing to do"
    );
    let own = stored(&ground, AUTHORITY).await?;
    ensure!(stored(&ground, WEBHOOK).await?.bundle == own.bundle);
    let current = bundles(&ground).await?;
    ensure!(current.len() == VALIDATIONS.len() + 1, "{current:?}");
    let expected = json!(k8s_openapi::ByteString(own.bundle.clone()));
    ensure!(current.iter().all(|bundle| *bundle == expected));

    // One that is old, one that is broken, one that is lost.
    let later = now + SignedDuration::from_hours(24 * 75);
    reconcile(&operator, &namespace, later, &metrics).await?;
    let old = stored(&ground, METRICS).await?;
    set(&ground, METRICS, &json!({ "data": { "tls.key": "AAAA" } })).await?;
    let secrets: Api<Secret> = Api::namespaced(ground.admin.clone(), &namespace);
    secrets.delete(WEBHOOK, &DeleteParams::default()).await?;
    register(&ground, &reach, b"", &[]).await?;
    reconcile(&operator, &namespace, later, &metrics).await?;
    let new = stored(&ground, METRICS).await?;
    ensure!(new.certificate != old.certificate && new.bundle == own.bundle);
    ensure!(stored(&ground, WEBHOOK).await?.bundle == own.bundle);
    ensure!(
        bundles(&ground)
            .await?
            .iter()
            .all(|bundle| *bundle == expected)
    );

    // The operator does so by itself when something changes.
    let stop = CancellationToken::new();
    let kept = tokio::spawn(run(
        operator.clone(),
        namespace.clone(),
        metrics.clone(),
        stop.clone(),
    ));
    for round in 0..2 {
        secrets.delete(WEBHOOK, &DeleteParams::default()).await?;
        register(&ground, &reach, b"", &[]).await?;
        let start = Instant::now();
        while secrets.get_opt(WEBHOOK).await?.is_none()
            || bundles(&ground)
                .await?
                .iter()
                .any(|bundle| *bundle != expected)
        {
            ensure!(start.elapsed() < PATIENCE, "nobody mends it, round {round}");
            tokio::time::sleep(INTERVAL).await;
        }
    }
    // And when the time has come, with nothing that changes.
    let name = format!("webhook-service.{namespace}");
    // With fewer names, it would be renewed at once.
    let names = ["", ".svc", ".svc.cluster.local"].map(|end| format!("{name}{end}"));
    let own = stored(&ground, AUTHORITY).await?;
    let now = Timestamp::now();
    let after = serving(None, &own, &names, now)?.due.duration_since(now);
    let then = now - after + SignedDuration::from_secs(3);
    let (old, _) = serving(None, &own, &names, then)?.write.context("none")?;
    let data = json!({ "data": {
        "tls.crt": k8s_openapi::ByteString(old.certificate.clone()),
        "tls.key": k8s_openapi::ByteString(old.key.clone()),
    } });
    set(&ground, WEBHOOK, &data).await?;
    until(PATIENCE, "the certificate is renewed", async || {
        let new = stored(&ground, WEBHOOK).await?;
        Ok((new.certificate != old.certificate).then_some(()))
    })
    .await?;
    stop.cancel();
    kept.await?;

    // What somebody else keeps is theirs.
    let labels = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } }, "data": { "tls.crt": "AAAA" } });
    set(&ground, METRICS, &labels).await?;
    let theirs = stored(&ground, METRICS).await?;
    reconcile(&operator, &namespace, later, &metrics).await?;
    ensure!(stored(&ground, METRICS).await? == theirs);
    ground.remove().await
}

#[tokio::test]
async fn a_certificate_changes_and_no_request_fails() -> Result<()> {
    let ground = Ground::new().await?;
    let operator = operator(&ground).await?;
    let namespace = ground.namespace.clone();
    let metrics = Arc::new(Metrics::new("")?);
    let mut webhook = Webhook::start(&ground).await?;
    // Nothing may be overlooked, so that a request fails if the webhook does.
    let fail: Vec<_> = VALIDATIONS
        .iter()
        .map(|one| one.name)
        .map(failing)
        .collect();
    let reach = Reach::Url(webhook.url.clone());
    register(&ground, &reach, b"", &fail).await?;
    reconcile(&operator, &namespace, Timestamp::now(), &metrics).await?;
    let first = stored(&ground, AUTHORITY).await?;
    webhook.mount(2, &certificate(&first)?)?;
    webhook.authority = first.clone();
    webhook.register(&ground, &fail).await?;

    let asking = Asking::start(&ground.admin);
    asking.more(20).await?;
    // The authority is lost: another one is made, and the lost one stays trusted.
    set(
        &ground,
        AUTHORITY,
        &json!({ "data": { "tls.key": "AAAA" } }),
    )
    .await?;
    reconcile(&operator, &namespace, Timestamp::now(), &metrics).await?;
    let second = stored(&ground, AUTHORITY).await?;
    ensure!(second.certificate != first.certificate);
    let both = [second.certificate.clone(), first.certificate].concat();
    ensure!(second.bundle == both, "the bundle is not both");
    let expected = json!(k8s_openapi::ByteString(both));
    ensure!(
        bundles(&ground)
            .await?
            .iter()
            .all(|bundle| *bundle == expected)
    );
    asking.more(20).await?;
    webhook.mount(3, &certificate(&second)?)?;
    asking.more(20).await?;
    // Only the new one is trusted: the API server connects anew, and is shown the new certificate.
    register(&ground, &reach, &second.certificate, &fail).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    asking.more(20).await?;
    asking.end().await?;
    webhook.stop()?;
    ground.remove().await
}

fn failing(name: &str) -> WebhookOptions {
    WebhookOptions {
        name: name.to_owned(),
        failure_policy: Some("Fail".to_owned()),
        namespace_selector: None,
        object_selector: None,
    }
}

/// Somebody who asks all the time.
struct Asking {
    done: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Asking {
    fn start(client: &Client) -> Self {
        let (done, count) = (Arc::default(), Arc::default());
        let (is_done, counted) = (Arc::clone(&done), Arc::clone(&count));
        let client = client.clone();
        let task = tokio::spawn(async move {
            let path = format!("/apis/{GROUP}/v1/seccompprofiles?dryRun=All");
            let good = profile(
                "SeccompProfile",
                "good",
                &json!({ "defaultAction": "SCMP_ACT_LOG" }),
            );
            let done: &AtomicBool = &is_done;
            let count: &AtomicUsize = &counted;
            while !done.load(Ordering::Relaxed) {
                create(&client, &path, &good).await??;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { done, count, task }
    }

    /// Waits until so many more requests were answered.
    async fn more(&self, number: usize) -> Result<()> {
        let start = Instant::now();
        let before = self.count.load(Ordering::Relaxed);
        while self.count.load(Ordering::Relaxed) < before + number {
            ensure!(!self.task.is_finished(), "a request failed");
            ensure!(start.elapsed() < PATIENCE, "no requests are answered");
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    async fn end(self) -> Result<()> {
        self.done.store(true, Ordering::Relaxed);
        self.task.await?
    }
}
