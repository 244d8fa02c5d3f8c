//! Who may read metrics.

use std::sync::Arc;

use anyhow::{Result, ensure};
use prometheus::{IntCounter, Registry};
use serde_json::json;
use spo::server::{Limits, serve};
use spo::telemetry::http::{Access, metrics};
use spo_cluster_tests::access::{bearer, service_account, service_account_config};
use spo_cluster_tests::web::{Tls, https_get, plain_get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::{Ground, Webhook};

async fn served(access: Option<Arc<Access>>) -> Result<(u16, CancellationToken)> {
    let (process, profiles) = (Registry::new(), Registry::new());
    process.register(Box::new(IntCounter::new("process_test", "one")?))?;
    profiles.register(Box::new(IntCounter::new("profiles_test", "two")?))?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let stop = CancellationToken::new();
    let router = metrics(process, profiles, access);
    tokio::spawn(serve(
        listener,
        None,
        router,
        Limits::default(),
        stop.clone(),
    ));
    Ok((port, stop))
}

#[tokio::test]
async fn metrics_are_for_those_who_may() -> Result<()> {
    let ground = Ground::new().await?;
    let (admin, namespace) = (&ground.admin, &ground.namespace);
    let daemon = service_account(admin, namespace, "daemon").await?;
    let reviews = json!([
        { "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"] },
        { "apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"] },
    ]);
    ground.allow("daemon", "reviews", &reviews).await?;
    let stranger = bearer(&service_account_config(admin, namespace, "stranger").await?)?;
    let reader = bearer(&service_account_config(admin, namespace, "reader").await?)?;
    let get = json!([{ "nonResourceURLs": ["/metrics-spod"], "verbs": ["get"] }]);
    ground.allow("reader", "metrics", &get).await?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;

    let (port, stop) = served(Some(Arc::new(Access::new(daemon)))).await?;
    let bad = "Authorization: Bearer nonsense".to_owned();
    for (path, headers, status, text) in [
        ("/metrics-spod", vec![], 401, "no bearer token"),
        (
            "/metrics-spod",
            vec!["Authorization: Basic YTpi".to_owned()],
            401,
            "no bearer token",
        ),
        ("/metrics-spod", vec![bad], 401, "does not know the token"),
        (
            "/metrics-spod",
            vec![stranger.clone()],
            403,
            ":stranger may not get /metrics-spod",
        ),
        (
            "/metrics-spod",
            vec![reader.clone()],
            200,
            "profiles_test 0",
        ),
        // Remembered now, and for this path only.
        (
            "/metrics-spod",
            vec![reader.clone()],
            200,
            "profiles_test 0",
        ),
        (
            "/metrics",
            vec![reader],
            403,
            ":reader may not get /metrics",
        ),
    ] {
        let said = plain_get(port, path, &headers).await?;
        let expected = format!("HTTP/1.1 {status}");
        ensure!(
            said.starts_with(&expected) && said.contains(text),
            "{path}: {said}"
        );
    }
    stop.cancel();

    let (port, stop) = served(None).await?;
    let said = plain_get(port, "/metrics", &[]).await?;
    ensure!(said.contains("process_test 0"), "{said}");
    stop.cancel();
    ground.remove().await
}

/// Where the webhooks are, over TLS, and with no right but that of its role.
#[tokio::test]
async fn the_webhook_tells_about_itself() -> Result<()> {
    let ground = Ground::new().await?;
    let (admin, namespace) = (&ground.admin, &ground.namespace);
    let reader = bearer(&service_account_config(admin, namespace, "reader").await?)?;
    let get = json!([{ "nonResourceURLs": ["/metrics", "/metrics-spod"], "verbs": ["get"] }]);
    ground.allow("reader", "metrics", &get).await?;
    let webhook = Webhook::start(&ground).await?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let tls = Tls {
        authorities: &webhook.authority.bundle,
        name: "localhost",
        protocols: &["h2", "http/1.1"],
    };
    for (path, headers, expected) in [
        ("/metrics", vec![], "HTTP/1.1 401"),
        ("/metrics", vec![reader.clone()], "process_resident_memory"),
        (
            "/metrics-spod",
            vec![reader],
            "security_profiles_operator_events_over_budget_total 0",
        ),
    ] {
        let (agreed, said) = https_get(webhook.port(), &tls, path, &headers).await?;
        ensure!(agreed == "http/1.1", "{agreed}");
        ensure!(said.contains(expected), "{path}: {said}");
    }
    webhook.stop()?;
    ground.remove().await
}
