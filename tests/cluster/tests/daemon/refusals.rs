//! What is not installed, and says why.

use std::fs;
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
    // What becomes forbidden goes, but not before the operator has looked at the pods.
    world.apply("used", &allows(&["read"])).await?;
    world.is("used", "Installed", "").await?;
    for name in ["compliant", "used"] {
        world
            .operator_saw(name, "Installed", "Available", &[])
            .await?;
    }
    world.allow(&["write"]).await?;
    for name in ["compliant", "used"] {
        let status = world.is(name, "Error", "NoLongerAllowed").await?;
        let message = status["status"]["message"].to_string();
        assert!(message.contains("until the operator says"), "{message}");
    }
    world
        .operator_saw("used", "Error", "NotAllowed", &["ns/pod"])
        .await?;
    world
        .says("used", "used", |status| {
            status["message"].to_string().contains("ns/pod")
        })
        .await?;
    for name in ["compliant", "used"] {
        assert!(world.file(name).exists());
        world.operator_saw(name, "Error", "NotAllowed", &[]).await?;
        world
            .until("no file", || !world.file(name).exists())
            .await?;
        world.is(name, "Error", "NoLongerAllowed").await?;
    }
    // And back.
    world.allow(&["read", "mount"]).await?;
    world.is("compliant", "Installed", "").await?;
    world.is("not-compliant", "Installed", "").await?;
    world.remove().await
}

/// What somebody makes of a base is no change of what is allowed.
#[tokio::test]
async fn a_base_that_is_not_allowed_is_named_and_what_was_there_stays() -> Result<()> {
    let world = World::new().await?;
    world.allow(&["read", "write"]).await?;
    let _daemon = world.start()?;
    world.apply("base", &allows(&["read"])).await?;
    let mut above = allows(&["write"]);
    above["baseProfileName"] = json!("base");
    world.apply("above", &above).await?;
    world.is_installed("above").await?;
    let before = fs::read(world.file("above"))?;
    world.apply("base", &allows(&["mount"])).await?;
    let status = world.is("above", "Error", "BaseNotAllowed").await?;
    let message = status["status"]["message"].to_string();
    assert!(message.contains("`base`") && message.contains("`mount`"));
    assert!(message.contains("as it was before"), "{message}");
    world.is("base", "Error", "ProfileNotAllowed").await?;
    for name in ["above", "base"] {
        world.operator_saw(name, "Error", "NotAllowed", &[]).await?;
    }
    world.allow(&["read", "write", "mmap"]).await?;
    world.is("above", "Error", "BaseNotAllowed").await?;
    assert_eq!(fs::read(world.file("above"))?, before);
    // If that is not allowed, either, it goes.
    world.allow(&["write"]).await?;
    world
        .until("no file", || !world.file("above").exists())
        .await?;
    world.is("above", "Error", "BaseNotAllowed").await?;
    world.allow(&[]).await?;
    world.is_installed("above").await?;
    world.remove().await
}

#[tokio::test]
async fn without_a_configuration_nothing_more_is_allowed() -> Result<()> {
    let world = World::new().await?;
    world.allow(&["read"]).await?;
    let daemon = world.start()?;
    world.apply("fine", &allows(&["read"])).await?;
    world.is_installed("fine").await?;
    world.apply("refused", &allows(&["mount"])).await?;
    world.is("refused", "Error", "ProfileNotAllowed").await?;
    world.unconfigure().await?;
    let log = || world.log().contains("the configuration is gone");
    world.until("it is noticed", log).await?;
    world.apply("late", &allows(&["mount"])).await?;
    world.is("late", "Error", "ProfileNotAllowed").await?;
    world.apply("fine-too", &allows(&["read"])).await?;
    world.is_installed("fine-too").await?;
    world.is("refused", "Error", "ProfileNotAllowed").await?;
    // Whoever begins without one does not know what is allowed.
    drop(daemon);
    let before = fs::read(world.file("fine"))?;
    let _daemon = world.start()?;
    for name in ["fine", "fine-too", "late", "refused"] {
        let status = world.is(name, "Error", "NoConfiguration").await?;
        let was_there = name.starts_with("fine");
        assert_eq!(world.file(name).exists(), was_there, "{name}");
        let message = status["status"]["message"].to_string();
        assert_eq!(message.contains("as it was before"), was_there, "{message}");
    }
    assert_eq!(fs::read(world.file("fine"))?, before);
    world.allow(&["read"]).await?;
    for name in ["fine", "fine-too"] {
        world.is_installed(name).await?;
    }
    // It is not deleted, because it never was there.
    for name in ["late", "refused"] {
        world.is(name, "Error", "ProfileNotAllowed").await?;
    }
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
