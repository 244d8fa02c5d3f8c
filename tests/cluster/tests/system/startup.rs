//! Nodes that keep pods away until their profiles are there.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::node::{self, pod};
use spo_cluster_tests::objects::get;

use crate::world::{PODS, World};

const NODES: &str = "/api/v1/nodes";
/// The taint of somebody else.
const OTHER: &str = "example.com/other";

/// A kubelet gives a new node the taint. Here, a node that is there gets it, and a new daemon.
pub(crate) async fn a_node_takes_pods_when_its_daemon_is_ready(world: &World) -> Result<()> {
    let nodes = get(&world.admin, NODES).await?.context("not served")?;
    let name = nodes["items"][0]["metadata"]["name"].as_str();
    let path = format!("{NODES}/{}", name.context("no node")?);
    let taints = json!([
        { "key": OTHER, "effect": "PreferNoSchedule" },
        { "key": "spo.x-k8s.io/profiles-not-installed", "effect": "NoSchedule" },
    ]);
    world
        .merge(&path, &json!({ "spec": { "taints": taints } }))
        .await?;
    node::start(&world.admin, &world.users, &pod("early", "sleep 1000")).await?;
    let early = format!("/api/v1/namespaces/{}/pods/early", world.users);
    let waits = |pod: &Value| pod["status"]["conditions"][0]["reason"] == "Unschedulable";
    world.becomes(&early, "kept away", waits).await?;
    let daemons = format!("{PODS}?labelSelector=name%3Dspod");
    let list = get(&world.admin, &daemons).await?.context("not served")?;
    let old = list["items"][0]["metadata"]["name"]
        .as_str()
        .context("no daemon")?;
    let node = get(&world.admin, &path).await?.context("no node")?;
    ensure!(node["spec"]["taints"] == taints, "{:#}", node["spec"]);
    world.delete(&format!("{PODS}/{old}")).await?;
    let runs = |pod: &Value| pod["status"]["phase"] == "Running";
    world.becomes(&early, "running", runs).await?;
    let node = get(&world.admin, &path).await?.context("no node")?;
    let left = node["spec"]["taints"].as_array().map_or(0, Vec::len);
    ensure!(
        left == 1 && node["spec"]["taints"][0]["key"] == OTHER,
        "{:#}",
        node["spec"]
    );
    world
        .merge(&path, &json!({ "spec": { "taints": null } }))
        .await?;
    world.end_pod("early").await
}
