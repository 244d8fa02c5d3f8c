//! What strangers send takes neither the memory nor the time that others need.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::json;
use spo_cluster_tests::access::{bearer, service_account_config};
use spo_cluster_tests::objects::create;
use spo_cluster_tests::web::{Tls, connect, https_get};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::server::{GROUP, Ground, Webhook, probe};

/// The limit of its container.
const LIMIT: usize = 128 << 20;
/// Connections of strangers at a time.
const STRANGERS: usize = 100;
/// What each of them sends.
const SIZE: usize = 4 << 20;

/// Bodies of which little text becomes much in memory, and one that never ends.
fn bodies() -> Vec<Vec<u8>> {
    let of = |size: usize, one: &str| {
        let many = one.repeat(size / one.len());
        let all = many.trim_end_matches(',');
        format!("{{\"request\":{{\"uid\":\"1\",\"object\":[{all}]}}}}").into_bytes()
    };
    vec![
        of(SIZE, "{\"a\":0},"),
        of(SIZE, "0,"),
        of(150 << 10, "{\"a\":0},"),
        of(15 << 10, "{\"a\":0},"),
        vec![b'a'; SIZE],
    ]
}

/// Sends one body after the other; the last byte of one that is no JSON never comes.
async fn strange(port: u16, authority: &[u8], number: usize, sent: &AtomicUsize) -> Result<()> {
    let bodies = bodies();
    let body = &bodies[number % bodies.len()];
    let whole = body.ends_with(b"}");
    let tls = Tls {
        authorities: authority,
        name: "localhost",
        protocols: &["http/1.1"],
    };
    loop {
        let mut stream = connect(port, &tls).await?;
        let length = body.len();
        let head = format!(
            "POST /validate-v1-pod-profilepolicy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        let end = if whole { length } else { length - 1 };
        // Whoever is refused is not listened to until the end.
        if stream.write_all(head.as_bytes()).await.is_ok() {
            stream.write_all(&body[..end]).await.ok();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn what_strangers_send_takes_nothing_that_others_need() -> Result<()> {
    let ground = Ground::new().await?;
    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut strangers = JoinSet::new();
    for number in 0..STRANGERS {
        let authority = webhook.authority.bundle.clone();
        let (port, sent) = (webhook.port(), Arc::clone(&sent));
        strangers.spawn(async move { strange(port, &authority, number, &sent).await });
    }
    let path = format!("/apis/{GROUP}/v1/seccompprofiles?dryRun=All");
    let mut rounds = 0;
    while sent.load(Ordering::Relaxed) < 5 * STRANGERS {
        // Where the webhook does not answer in time, this is let through.
        match create(&ground.admin, &path, &probe()).await? {
            Err(refusal) => ensure!(refusal.message.contains("args"), "{refusal}"),
            Ok(_) => bail!("after {rounds} rounds, the webhook did not answer"),
        }
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    strangers.shutdown().await;
    let most = webhook.most_memory()?;
    ensure!(most < LIMIT, "it took {} MiB", most >> 20);

    let (admin, namespace) = (&ground.admin, &ground.namespace);
    let reader = bearer(&service_account_config(admin, namespace, "reader").await?)?;
    let get = json!([{ "nonResourceURLs": ["/metrics-spod"], "verbs": ["get"] }]);
    ground.allow("reader", "metrics", &get).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tls = Tls {
        authorities: &webhook.authority.bundle,
        name: "localhost",
        protocols: &["http/1.1"],
    };
    let (_, said) = https_get(webhook.port(), &tls, "/metrics-spod", &[reader]).await?;
    let name = "security_profiles_operator_requests_refused_total ";
    let refused = said.lines().find_map(|line| line.strip_prefix(name));
    ensure!(refused.is_some_and(|count| count != "0"), "{said}");
    println!(
        "{rounds} honest requests, {} strange ones, {} MiB",
        sent.load(Ordering::Relaxed),
        most >> 20
    );
    webhook.stop()?;
    ground.remove().await
}
