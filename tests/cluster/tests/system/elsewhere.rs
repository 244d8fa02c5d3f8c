//! Profiles that were recorded on something else than the node that has them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::objects::get;

use crate::world::{PROFILES, World, refuses};

pub(crate) async fn a_profile_that_was_recorded_elsewhere_says_so(world: &World) -> Result<()> {
    let path = format!("/api/v1/nodes/{}", world.node.name);
    let node = get(&world.admin, &path).await?.context("no node")?;
    let kernel = node["status"]["nodeInfo"]["kernelVersion"]
        .as_str()
        .context("no kernel")?;
    world.apply("elsewhere", &refuses(&["mkdir"])).await?;
    world.installed("elsewhere", 1).await?;
    let evidence = async |architecture: &str, kernel: &str, runtime: &str| {
        let change = json!({ "metadata": { "annotations": {
            "spo.x-k8s.io/recording-architecture": architecture,
            "spo.x-k8s.io/recording-kernel": kernel,
            "spo.x-k8s.io/recording-runtime": runtime,
        } } });
        world.merge(&format!("{PROFILES}/elsewhere"), &change).await
    };
    let says = async |is: &dyn Fn(&Value) -> bool| {
        world
            .until("the node says so", async || {
                let statuses = world.statuses("elsewhere").await?;
                let status = &statuses.first().context("no status")?["status"];
                ensure!(is(&status["recordedElsewhere"]), "{status}");
                Ok(Some(status.clone()))
            })
            .await
    };
    let own = std::env::consts::ARCH;
    evidence("s390x", "4.19.1", "cri-o").await?;
    let all = |said: &Value| {
        let said = said.as_str().unwrap_or_default();
        ["s390x", "kernel 4.19.1", "cri-o", "containerd"]
            .iter()
            .all(|word| said.contains(word))
    };
    let status = says(&all).await?;
    ensure!(status["status"] == "Installed", "{status}");
    ensure!(status["reason"].is_null(), "{status}");
    evidence(own, kernel, "cri-o").await?;
    let one = |said: &Value| said == "recorded on runtime cri-o, this node has containerd";
    says(&one).await?;
    evidence(own, kernel, "containerd").await?;
    says(&Value::is_null).await?;
    world.installed("elsewhere", 1).await?;
    world.delete_profile("elsewhere").await?;
    world.gone("elsewhere").await
}
