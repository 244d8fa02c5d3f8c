//! From the first object to the last file.

use std::fs;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use spo_cluster_tests::objects::send;

use crate::world::{FINALIZER, PROFILES, STATUSES, World, allows, sha256};

#[tokio::test]
async fn a_profile_is_installed_updated_disabled_and_partial() -> Result<()> {
    let world = World::new().await?;
    let _daemon = world.start()?;
    let made = world.apply("a", &allows(&["read"])).await?;
    let status = world.is_installed("a").await?;
    let owner = &status["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], made["metadata"]["uid"]);
    assert_eq!(owner["controller"], true);
    assert_eq!(owner["blockOwnerDeletion"], false);
    let labels = &status["metadata"]["labels"];
    assert_eq!(labels["spo.x-k8s.io/profile-id"], "SeccompProfile-a");
    assert_eq!(labels["spo.x-k8s.io/profile-kind"], "SeccompProfile");
    assert_eq!(labels["spo.x-k8s.io/node-name"], "node-1");
    assert_eq!(status["spec"]["nodeName"], "node-1");
    let event = world.event("a", "SavedSeccompProfile").await?;
    assert_eq!(event["type"], "Normal");

    let before = status["status"]["since"].clone();
    world.apply("a", &allows(&["read", "write"])).await?;
    let status = world.is_installed("a").await?;
    assert_eq!(status["status"]["since"], before, "the state is the same");

    let mut disabled = allows(&["read"]);
    disabled["state"] = json!("Disabled");
    world
        .operator_says("a", json!({ "activeWorkloads": ["ns/pod"] }))
        .await?;
    world.apply("a", &disabled).await?;
    let status = world.is("a", "Installed", "InUse").await?;
    assert!(status["status"]["message"].to_string().contains("ns/pod"));
    assert!(world.file("a").exists());
    // The operator has looked at it, and at the pods; what it knew before is no word.
    world
        .operator_says("a", json!({ "activeWorkloads": [] }))
        .await?;
    world
        .says("a", "waiting", |status| {
            status["message"].to_string().contains("operator says")
        })
        .await?;
    assert!(world.file("a").exists());
    world
        .operator_saw("a", "Disabled", "Unavailable", &[])
        .await?;
    world.is("a", "Disabled", "").await?;
    assert!(!world.file("a").exists());

    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;
    let labels = json!({ "spo.x-k8s.io/partial": "true" });
    world
        .patch("a", json!({ "metadata": { "labels": labels } }))
        .await?;
    world.is("a", "Installed", "InUse").await?;
    assert!(world.file("a").exists());
    world
        .operator_saw("a", "Partial", "Unavailable", &[])
        .await?;
    world.is("a", "Partial", "").await?;
    assert!(!world.file("a").exists());
    world.remove().await
}

#[tokio::test]
async fn a_deleted_profile_stays_until_it_is_released() -> Result<()> {
    let world = World::new().await?;
    let _daemon = world.start()?;
    let metadata = json!({ "name": "a", "finalizers": [FINALIZER] });
    world.apply_with("a", metadata, &allows(&["read"])).await?;
    world.is_installed("a").await?;
    world.delete("a").await?;
    world.is("a", "Terminating", "").await?;
    assert!(world.file("a").exists());
    // The operator is there, and knows a pod.
    let used = json!({ "status": "Terminating", "activeWorkloads": ["ns/pod"] });
    world.operator_says("a", used).await?;
    world.is("a", "Terminating", "InUse").await?;
    assert!(world.file("a").exists());
    let released = json!({ "status": "Terminating", "activeWorkloads": [] });
    world.operator_says("a", released).await?;
    world.is_silent("a").await?;
    assert!(!world.file("a").exists());
    // It says nothing again while the profile still is there.
    world
        .patch("a", json!({ "metadata": { "labels": { "any": "thing" } } }))
        .await?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(world.status("a").await?, None);
    world
        .patch("a", json!({ "metadata": { "finalizers": null } }))
        .await?;

    // Without a finalizer it is gone at once.
    world.apply("b", &allows(&["read"])).await?;
    world.is_installed("b").await?;
    world.delete("b").await?;
    world.until("no file", || !world.file("b").exists()).await?;
    // And one of the same name is another profile.
    let made = world.apply("b", &allows(&["write"])).await?;
    let uid = made["metadata"]["uid"].clone();
    let mut owner = Value::Null;
    for _ in 0..500 {
        if let Some(status) = world.status("b").await? {
            owner = status["metadata"]["ownerReferences"][0]["uid"].clone();
        }
        if owner == uid {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(owner, uid);
    world.is_installed("b").await?;
    world.remove().await
}

#[tokio::test]
async fn what_happened_while_nobody_looked_is_made_up_for() -> Result<()> {
    let world = World::new().await?;
    let daemon = world.start()?;
    for name in ["gone", "changed", "kept"] {
        world.apply(name, &allows(&["read"])).await?;
        world.is_installed(name).await?;
    }
    drop(daemon);
    world.delete("gone").await?;
    // Nothing but the journal is to tell whose file it is.
    let path = format!("{STATUSES}/seccompprofile-gone-node-1");
    send(&world.admin, Method::DELETE, &path, None).await?.ok();
    world.is_silent("gone").await?;
    world.apply("changed", &allows(&["write"])).await?;
    fs::write(world.root.join("strange.json"), "mine")?;
    fs::write(world.root.join(".spo-new-1-1"), "half")?;
    let before = world.status("kept").await?;
    let _daemon = world.start()?;
    world
        .until("no file", || !world.file("gone").exists())
        .await?;
    world.is_installed("changed").await?;
    world.is_installed("kept").await?;
    assert_eq!(world.status("kept").await?, before, "it was written again");
    assert_eq!(fs::read(world.root.join("strange.json"))?, b"mine");
    assert!(!world.root.join(".spo-new-1-1").exists());
    world.remove().await
}

#[tokio::test]
async fn bases_are_taken_in_and_followed() -> Result<()> {
    let world = World::new().await?;
    let _daemon = world.start()?;
    let based = |base: &str| {
        let mut spec = allows(&["write", "exit"]);
        spec["baseProfileName"] = json!(base);
        spec
    };
    world.apply("top", &based("middle")).await?;
    let status = world.is("top", "Error", "InvalidSeccompProfile").await?;
    assert!(status["status"]["message"].to_string().contains("`middle`"));
    world.apply("middle", &based("bottom")).await?;
    world.is("middle", "Error", "InvalidSeccompProfile").await?;
    world.apply("bottom", &allows(&["read"])).await?;
    world.is_installed("top").await?;
    let names = || -> Result<Vec<String>> {
        let content: Value = serde_json::from_slice(&fs::read(world.file("top"))?)?;
        assert_eq!(content["baseProfileName"], "middle");
        let rules = content["syscalls"].as_array().cloned().unwrap_or_default();
        let names = rules.iter().map(|rule| rule["names"].to_string());
        Ok(names.collect())
    };
    assert_eq!(names()?, [r#"["exit"]"#, r#"["read"]"#, r#"["write"]"#]);
    world.apply("bottom", &allows(&["mmap"])).await?;
    world
        .until("the base's change", || {
            names().is_ok_and(|names| names[1] == r#"["mmap"]"#)
        })
        .await?;
    world.is_installed("top").await?;
    // In a circle, everybody is wrong, and the files stay.
    world.apply("bottom", &based("top")).await?;
    for name in ["top", "middle", "bottom"] {
        let status = world.is(name, "Error", "InvalidSeccompProfile").await?;
        let message = status["status"]["message"].to_string();
        assert!(message.contains("circle") && message.contains("as it was before"));
        assert!(world.file(name).exists());
    }
    world.apply("top", &based("oci://ghcr.io/x/y:1")).await?;
    world.is("top", "Error", "Unsupported").await?;
    world.remove().await
}

#[tokio::test]
async fn long_names_are_found_by_their_label() -> Result<()> {
    let world = World::new().await?;
    let _daemon = world.start()?;
    let found = async |name: &str, state: &str| -> Result<Value> {
        let mut id = format!(
            "SeccompProfile-{}",
            sha256(format!("SeccompProfile-{name}"))
        );
        id.truncate(63);
        let path = format!("{STATUSES}?labelSelector=spo.x-k8s.io/profile-id={id}");
        for _ in 0..1000 {
            let list = spo_cluster_tests::objects::get(&world.admin, &path).await?;
            let list = list.unwrap_or_default();
            if list["items"][0]["status"]["status"] == state {
                return Ok(list["items"][0].clone());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        anyhow::bail!("{name} is never {state}");
    };
    let longest = "a".repeat(250);
    world.apply(&longest, &allows(&["read"])).await?;
    found(&longest, "Installed").await?;
    assert!(world.file(&longest).exists());
    let longer = "b".repeat(253);
    world.apply(&longer, &allows(&["read"])).await?;
    let status = found(&longer, "Error").await?;
    assert_eq!(status["status"]["reason"], "InvalidSeccompProfile");
    world.delete(&longest).await?;
    world
        .until("no file", || !world.file(&longest).exists())
        .await?;
    world.remove().await
}

#[tokio::test]
async fn two_profiles_with_one_file_do_not_fight() -> Result<()> {
    let world = World::new().await?;
    let _daemon = world.start()?;
    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;
    // Times have seconds.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    world.apply("a.json", &allows(&["write"])).await?;
    let status = world.is("a.json", "Error", "NameCollision").await?;
    assert!(
        status["status"]["message"]
            .to_string()
            .contains("profile a ")
    );
    world.is_installed("a").await?;
    world.delete("a").await?;
    world.is("a.json", "Installed", "").await?;
    let content = fs::read_to_string(world.file("a"))?;
    assert!(content.contains("write"), "{content}");
    // The operator's own file is no profile's, whatever becomes of the profile.
    let own = world.file("kubelet-config");
    fs::write(&own, "{}")?;
    world.apply("kubelet-config", &allows(&["read"])).await?;
    let status = world.is("kubelet-config", "Error", "NameCollision").await?;
    let message = status["status"]["message"].to_string();
    assert!(!message.contains("before"), "{message}");
    let mut disabled = allows(&["read"]);
    disabled["state"] = json!("Disabled");
    world.apply("kubelet-config", &disabled).await?;
    world.is("kubelet-config", "Disabled", "").await?;
    let finalizers = json!({ "metadata": { "finalizers": [FINALIZER] } });
    world.patch("kubelet-config", finalizers).await?;
    world.delete("kubelet-config").await?;
    let released = json!({ "status": "Terminating", "activeWorkloads": [] });
    world.operator_says("kubelet-config", released).await?;
    world.is_silent("kubelet-config").await?;
    assert_eq!(fs::read(&own)?, b"{}");
    let gone = spo_cluster_tests::objects::get(&world.admin, &format!("{PROFILES}/a")).await?;
    assert_eq!(gone, None);
    world.remove().await
}
