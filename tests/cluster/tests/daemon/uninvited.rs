//! What others do to our files and our statuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use anyhow::Result;
use http::Method;
use serde_json::json;
use spo_cluster_tests::objects::send;

use crate::world::{STATUSES, World, allows};

#[tokio::test]
async fn files_that_others_changed_are_repaired() -> Result<()> {
    let world = World::new().await?;
    let _daemon = world.start()?;
    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;
    let file = world.file("a");
    let right = fs::read(&file)?;
    let is_right = || {
        !file.is_symlink()
            && fs::read(&file).is_ok_and(|content| content == right)
            && fs::metadata(&file).is_ok_and(|data| data.permissions().mode() & 0o777 == 0o644)
    };
    fs::write(&file, "{}")?;
    world.until("repaired after a change", is_right).await?;
    let event = world.event("a", "RepairedSeccompProfile").await?;
    assert_eq!(event["type"], "Warning");
    fs::remove_file(&file)?;
    world.until("repaired after removal", is_right).await?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    world.until("repaired after a new mode", is_right).await?;
    let other = world.files.path().join("other");
    fs::write(&other, "mine")?;
    let link = world.root.join("link");
    symlink(&other, &link)?;
    fs::rename(&link, &file)?;
    world.until("repaired after a link", is_right).await?;
    assert_eq!(fs::read(&other)?, b"mine");
    world.is_installed("a").await?;
    world.remove().await
}

#[tokio::test]
async fn statuses_that_others_changed_are_written_again() -> Result<()> {
    let world = World::new().await?;
    let _daemon = world.start()?;
    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;
    let path = format!("{STATUSES}/seccompprofile-a-node-1");
    send(&world.admin, Method::DELETE, &path, None).await??;
    world.is_installed("a").await?;
    let mut status = world.status("a").await?.expect("it is there");
    status["status"] = json!({ "status": "Error", "reason": "Rubbish" });
    send(
        &world.admin,
        Method::PUT,
        &format!("{path}/status"),
        Some(&status),
    )
    .await??;
    world.is("a", "Installed", "").await?;
    let mut status = world.status("a").await?.expect("it is there");
    status["metadata"]["labels"] = json!({});
    status["metadata"]["ownerReferences"] = json!([]);
    send(&world.admin, Method::PUT, &path, Some(&status)).await??;
    for _ in 0..500 {
        let status = world.status("a").await?.unwrap_or_default();
        let label = &status["metadata"]["labels"]["spo.x-k8s.io/profile-state"];
        if *label == "Installed" && !status["metadata"]["ownerReferences"].is_null() {
            return world.remove().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the labels never came back");
}
