//! What the daemon tells about itself and profiles, and to whom.

use std::process::Command;

use anyhow::{Result, ensure};
use http::Method;
use serde_json::json;
use spo_cluster_tests::access::{BINDINGS, ROLES, allow, bearer, service_account_config};
use spo_cluster_tests::objects::send;
use spo_cluster_tests::web::{Tls, certificate, https_get, mount, plain_get, trusting};

use crate::world::{World, allows, spo};

/// Lets an account read these paths, by a role that the world does not know.
pub(crate) async fn reader(world: &World, name: &str, paths: &[&str]) -> Result<String> {
    let namespace = &world.namespace;
    let role = format!("reader-{namespace}");
    let rules = json!([{ "nonResourceURLs": paths, "verbs": ["get"] }]);
    allow(&world.admin, (namespace, name), &role, &rules).await?;
    bearer(&service_account_config(&world.admin, namespace, name).await?)
}

pub(crate) async fn forget(world: &World) -> Result<()> {
    for collection in [ROLES, BINDINGS] {
        let path = format!("{collection}/reader-{}", world.namespace);
        send(&world.admin, Method::DELETE, &path, None).await??;
    }
    Ok(())
}

#[tokio::test]
async fn metrics_are_for_those_who_may_with_a_certificate_that_comes_and_changes() -> Result<()> {
    let world = World::new().await?;
    let port = world.metrics;
    let stranger =
        bearer(&service_account_config(&world.admin, &world.namespace, "stranger").await?)?;
    let reader = reader(&world, "reader", &["/metrics-spod"]).await?;
    let _daemon = world.start()?;

    // Profiles do not wait for a certificate, and a line says what does.
    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;
    let waits = world
        .log()
        .matches("metrics wait for their certificate")
        .count();
    ensure!(waits == 1, "{}", world.log());
    let (first, signed) = certificate()?;
    let path = "/metrics-spod";
    let none = https_get(port, &trusting(&first), path, &[]).await;
    ensure!(none.is_err(), "{none:?}");

    mount(&world.certificates(), 1, &signed)?;
    let installed = "profiles{kind=\"SeccompProfile\",node=\"node-1\",state=\"Installed\"} 1\n";
    for (path, headers, expected) in [
        (path, vec![], "HTTP/1.1 401"),
        (
            path,
            vec!["Authorization: Bearer x".to_owned()],
            "HTTP/1.1 401",
        ),
        (path, vec![stranger], "HTTP/1.1 403"),
        ("/metrics", vec![reader.clone()], "HTTP/1.1 403"),
        (path, vec![reader.clone()], installed),
        ("/debug/pprof/", vec![reader.clone()], "HTTP/1.1 404"),
    ] {
        // HTTP/2 is offered, and not taken.
        let (agreed, said) = https_get(port, &trusting(&first), path, &headers).await?;
        ensure!(agreed == "http/1.1", "{agreed}");
        ensure!(said.contains(expected), "{path}: {said}");
    }
    let only = Tls {
        protocols: &["h2"],
        ..trusting(&first)
    };
    let none = https_get(port, &only, path, &[]).await;
    ensure!(none.is_err(), "{none:?}");
    let plain = plain_get(port, path, std::slice::from_ref(&reader)).await;
    ensure!(
        !plain
            .as_ref()
            .is_ok_and(|said| said.contains("HTTP/1.1 200")),
        "{plain:?}"
    );

    let (second, signed) = certificate()?;
    mount(&world.certificates(), 2, &signed)?;
    let headers = [reader];
    let (_, said) = https_get(port, &trusting(&second), path, &headers).await?;
    ensure!(said.contains(installed), "{said}");
    let none = https_get(port, &trusting(&first), path, &headers).await;
    ensure!(none.is_err(), "{none:?}");
    forget(&world).await?;
    world.remove().await
}

#[tokio::test]
async fn metrics_are_for_everybody_where_it_is_said() -> Result<()> {
    let world = World::new().await?;
    let mut command = Command::new(spo());
    command
        .args(world.arguments())
        .arg("--with-insecure-metrics-access");
    let daemon = world.start_as(command)?;
    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;
    for (path, expected) in [
        ("/metrics", "process_open_fds "),
        ("/metrics", "process_start_time_seconds "),
        (
            "/metrics-spod",
            "security_profiles_operator_seccomp_profile_total{operation=\"update\"} 1\n",
        ),
    ] {
        let said = plain_get(world.metrics, path, &[]).await?;
        ensure!(
            said.starts_with("HTTP/1.1 200") && said.contains(expected),
            "{path}: {said}"
        );
    }
    ensure!(world.log().contains("everybody may read metrics"));
    drop(daemon);
    world.remove().await
}
