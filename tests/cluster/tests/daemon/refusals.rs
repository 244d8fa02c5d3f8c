//! What is not installed, and says why.

use std::process::Command;

use anyhow::Result;
use serde_json::json;

use crate::world::{World, allows, spo};

#[tokio::test]
async fn only_allowed_calls_are_let_through() -> Result<()> {
    let world = World::new().await?;
    world.allow(&["read", "write"]).await?;
    let _daemon = world.start()?;
    let deny = json!({ "defaultAction": "SCMP_ACT_ERRNO" });
    world.apply("compliant", &allows(&["read"])).await?;
    world.apply("block-all", &deny).await?;
    world.apply("not-compliant", &allows(&["mount"])).await?;
    let all = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    world.apply("allow-all", &all).await?;
    world.is("compliant", "Installed", "").await?;
    world.is("block-all", "Installed", "").await?;
    for name in ["not-compliant", "allow-all"] {
        world.is(name, "Error", "ProfileNotAllowed").await?;
        assert!(!world.file(name).exists());
        let event = world.event(name, "ProfileNotAllowed").await?;
        assert_eq!(event["type"], "Warning");
    }
    // What becomes forbidden goes, unless pods use it.
    world.apply("used", &allows(&["read"])).await?;
    world.is("used", "Installed", "").await?;
    let pods = json!({ "activeWorkloads": ["ns/pod"] });
    world.operator_says("used", pods).await?;
    world.allow(&["write"]).await?;
    world.is("compliant", "Error", "ProfileNotAllowed").await?;
    assert!(!world.file("compliant").exists());
    let status = world.is("used", "Error", "ProfileNotAllowed").await?;
    assert!(status["status"]["message"].to_string().contains("ns/pod"));
    assert!(world.file("used").exists());
    let none = json!({ "activeWorkloads": [] });
    world.operator_says("used", none).await?;
    world
        .until("no file", || !world.file("used").exists())
        .await?;
    // And back.
    world.allow(&["read", "mount"]).await?;
    world.is("compliant", "Installed", "").await?;
    world.is("not-compliant", "Installed", "").await?;
    world.remove().await
}

#[tokio::test]
async fn what_the_server_took_and_is_wrong_is_said() -> Result<()> {
    let world = World::new().await?;
    let _daemon = world.start()?;
    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;
    let mut wrong = allows(&["read"]);
    wrong["syscalls"][0]["args"] = json!([{ "index": 9, "op": "SCMP_CMP_EQ" }]);
    world.apply("a", &wrong).await?;
    let status = world.is("a", "Error", "InvalidSeccompProfile").await?;
    let message = status["status"]["message"].to_string();
    assert!(
        message.contains("index") && message.contains("as it was before"),
        "{message}"
    );
    assert!(world.file("a").exists());
    assert!(!status["status"]["digest"].is_null());
    world.event("a", "InvalidSeccompProfile").await?;
    world.apply("a", &allows(&["write"])).await?;
    let status = world.is_installed("a").await?;
    assert!(status["status"]["message"].is_null(), "{status:#}");
    world.remove().await
}

#[test]
fn a_daemon_that_does_not_know_where_it_is_says_so() {
    for (present, missing) in [
        ("NODE_NAME", "OPERATOR_NAMESPACE"),
        ("OPERATOR_NAMESPACE", "NODE_NAME"),
    ] {
        let output = Command::new(spo())
            .arg("daemon")
            .env_clear()
            .env(present, "x")
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(missing), "{said}");
    }
}
