//! What operators tell about themselves and the cluster.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use spo::server::certificates::Stored;
use spo_cluster_tests::access::{bearer, service_account_config};
use spo_cluster_tests::objects::{create, send};
use spo_cluster_tests::web::{Tls, https_get, mount, plain_get};

use crate::world::{NAMESPACE, Operator, World};
use crate::{GROUP, base};

/// The Secret of the metrics' certificate, once the operator made it.
async fn secret(world: &World) -> Result<Stored> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/metrics-server-cert");
    let secret = world
        .becomes(&path, "there is a certificate", |_| true)
        .await?;
    let data = |key: &str| -> Result<Vec<u8>> {
        let data: k8s_openapi::ByteString = serde_json::from_value(secret["data"][key].clone())?;
        Ok(data.0)
    };
    Ok(Stored {
        certificate: data("tls.crt")?,
        key: data("tls.key")?,
        bundle: data("ca.crt")?,
    })
}

async fn told(operator: &Operator, secret: &Stored, headers: &[String]) -> Result<String> {
    let tls = Tls {
        authorities: &secret.bundle,
        name: &format!("security-profiles-operator-metrics.{NAMESPACE}.svc"),
        protocols: &["h2", "http/1.1"],
    };
    let (agreed, said) = https_get(operator.metrics, &tls, "/metrics-spod", headers).await?;
    ensure!(agreed == "http/1.1", "{agreed}");
    Ok(said)
}

/// The value of a time series.
fn value(said: &str, series: &str) -> Option<f64> {
    let name = format!("security_profiles_operator_{series} ");
    said.lines()
        .find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

/// A node that has a profile, and what it reports.
async fn report(world: &World) -> Result<()> {
    forget(world).await?;
    let metadata = json!({ "name": "deploy-metrics" });
    let profile = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "SeccompProfile", "metadata": metadata,
        "spec": { "defaultAction": "SCMP_ACT_LOG" },
    });
    let profiles = format!("/apis/{GROUP}/v1/seccompprofiles");
    let profile = create(&world.admin, &profiles, &profile).await??;
    create(
        &world.admin,
        "/api/v1/nodes",
        &json!({
            "apiVersion": "v1", "kind": "Node", "metadata": metadata,
        }),
    )
    .await??;
    let report = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "SecurityProfileNodeStatus",
        "metadata": {
            "name": "seccompprofile-deploy-metrics-deploy-metrics",
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1"), "kind": "SeccompProfile",
                "name": "deploy-metrics", "uid": profile["metadata"]["uid"], "controller": true,
            }],
        },
        "spec": { "nodeName": "deploy-metrics" },
    });
    let statuses = format!("/apis/{GROUP}/v1/securityprofilenodestatuses");
    let report = create(&world.admin, &statuses, &report).await??;
    let name = report["metadata"]["name"].as_str().unwrap_or_default();
    let status = json!({ "status": { "status": "Error", "reason": "Test" } });
    world
        .merge(&format!("{statuses}/{name}/status"), &status)
        .await?;
    Ok(())
}

async fn forget(world: &World) -> Result<()> {
    let profile = format!("/apis/{GROUP}/v1/seccompprofiles/deploy-metrics");
    if spo_cluster_tests::objects::get(&world.admin, &profile)
        .await?
        .is_some()
    {
        let none = json!({ "metadata": { "finalizers": null } });
        world.merge(&profile, &none).await?;
        world.delete(&profile).await?;
    }
    world
        .delete(&format!("/apis/{GROUP}/v1/securityprofilenodestatuses/seccompprofile-deploy-metrics-deploy-metrics"))
        .await?;
    world.delete("/api/v1/nodes/deploy-metrics").await
}

#[tokio::test]
async fn operators_say_who_leads_and_how_the_cluster_is() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let operators = [world.start("one")?, world.start("two")?];
    report(&world).await?;
    let secret = secret(&world).await?;
    let config = service_account_config(&world.admin, NAMESPACE, "default").await?;
    let reader = [bearer(&config)?];
    for operator in &operators {
        mount(&operator.certificates, 1, &secret)?;
        // Those that wait are ready, too.
        world
            .until("it is ready", async || {
                let said = plain_get(operator.health, "/readyz", &[]).await;
                Ok(said
                    .is_ok_and(|said| said.starts_with("HTTP/1.1 200"))
                    .then_some(()))
            })
            .await?;
        let said = told(operator, &secret, &[]).await?;
        ensure!(said.starts_with("HTTP/1.1 401"), "{said}");
    }
    let leading = world
        .until("one of them leads", async || {
            let mut leading = Vec::new();
            for operator in &operators {
                let said = told(operator, &secret, &reader).await?;
                if value(&said, "leads").context(said)? > 0.0 {
                    leading.push(operator);
                }
            }
            Ok((leading.len() == 1).then(|| leading[0]))
        })
        .await?;
    ensure!(world.leader().await?.as_ref() == Some(&leading.identity));
    let series = "node_profiles{kind=\"SeccompProfile\",node=\"deploy-metrics\",state=\"Error\"}";
    // Certificates are looked at meanwhile.
    let last = "certificate_expiry_timestamp_seconds{secret=\"webhook-server-cert\"}";
    let said = world
        .until("a profile is counted that is in error", async || {
            let said = told(leading, &secret, &reader).await?;
            let all = value(&said, series) == Some(1.0) && value(&said, last).is_some();
            Ok(all.then_some(said))
        })
        .await?;
    for queue in [
        "status",
        "configuration",
        "nodes",
        "recordings",
        "certificates",
    ] {
        ensure!(
            value(&said, &format!("{queue}_queue_length")).is_some(),
            "{said}"
        );
    }
    for name in [
        "metrics-server-cert",
        "security-profiles-operator-ca",
        "webhook-server-cert",
    ] {
        let series = format!("certificate_expiry_timestamp_seconds{{secret=\"{name}\"}}");
        let end = world
            .until("it is told when a certificate expires", async || {
                Ok(value(&told(leading, &secret, &reader).await?, &series))
            })
            .await?;
        #[expect(clippy::cast_precision_loss, reason = "it is exact for a long time")]
        let now = jiff::Timestamp::now().as_second() as f64;
        ensure!(end > now + 86400.0, "{series} {end}");
    }
    // No pod runs here.
    world
        .until("no replica of the webhook answers", async || {
            let said = told(leading, &secret, &reader).await?;
            let answer = value(&said, "webhook_available_replicas");
            Ok((answer == Some(0.0)).then_some(()))
        })
        .await?;
    // It clears by itself.
    forget(&world).await?;
    world
        .until("nothing is counted", async || {
            let said = told(leading, &secret, &reader).await?;
            Ok(value(&said, series).is_none().then_some(()))
        })
        .await?;
    for operator in &operators {
        operator.had_all_rights()?;
    }
    world.remove().await
}

/// An operator that may not read the lease says so, and what to do.
#[tokio::test]
async fn an_operator_without_rights_is_not_ready_and_says_why_in_one_line() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let path = format!(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/rolebindings/{NAMESPACE}"
    );
    send(&world.admin, Method::DELETE, &path, None).await??;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let operator = world.start("one")?;
    let log = world
        .until("it says what it may not", async || {
            let log = operator.log()?;
            Ok(log.contains("cannot read or take the lease").then_some(log))
        })
        .await?;
    let line = log
        .lines()
        .find(|line| line.contains("cannot read or take the lease"));
    let line: Value = serde_json::from_str(line.unwrap_or_default())?;
    let error = line["error"].as_str().unwrap_or_default();
    ensure!(
        error.starts_with("403 Forbidden: leases.coordination.k8s.io"),
        "{error}"
    );
    ensure!(
        error.contains("the roles of deploy/ give this right"),
        "{error}"
    );
    ensure!(
        error.len() < 500 && error.matches("forbidden").count() == 1,
        "{error}"
    );
    let said = plain_get(operator.health, "/readyz", &[]).await?;
    ensure!(
        said.starts_with("HTTP/1.1 503") && said.contains("the lease"),
        "{said}"
    );
    let said = plain_get(operator.health, "/healthz", &[]).await?;
    ensure!(said.starts_with("HTTP/1.1 200"), "{said}");
    world.remove().await
}
