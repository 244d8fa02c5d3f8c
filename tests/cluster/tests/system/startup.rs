//! Nodes that keep pods away until their profiles are there.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::node::{self, pod};
use spo_cluster_tests::objects::get;

use crate::world::{PODS, SPOD, World};

const NODES: &str = "/api/v1/nodes";
/// The taint of somebody else.
const OTHER: &str = "example.com/other";

/// Since when a pod has a condition. As the server writes times, the earlier one is the lesser text.
fn since(pod: &Value, condition: &str) -> Result<String> {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.find(|one| one["type"] == condition && one["status"] == "True");
    let time = found.and_then(|found| found["lastTransitionTime"].as_str());
    time.map(str::to_owned)
        .with_context(|| format!("not {condition}: {pod:#}"))
}

/// A kubelet gives a new node the taint. Here, a node that is there gets it, while it has no daemon.
pub(crate) async fn a_node_takes_pods_when_its_daemon_is_ready(world: &World) -> Result<()> {
    let nodes = get(&world.admin, NODES).await?.context("not served")?;
    let name = nodes["items"][0]["metadata"]["name"].as_str();
    let path = format!("{NODES}/{}", name.context("no node")?);
    let nowhere = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "no-such", "operator": "Exists" }] }],
    }}});
    let affinity = |value: &Value| json!({ "spec": { "scheduling": { "affinity": value } } });
    world.merge(SPOD, &affinity(&nowhere)).await?;
    let daemons = format!("{PODS}?labelSelector=name%3Dspod");
    let is_empty = |list: &Value| list["items"].as_array().is_some_and(Vec::is_empty);
    world.becomes(&daemons, "no daemon", is_empty).await?;
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
    let node = get(&world.admin, &path).await?.context("no node")?;
    ensure!(node["spec"]["taints"] == taints, "{:#}", node["spec"]);
    world.merge(SPOD, &affinity(&Value::Null)).await?;
    let runs = |pod: &Value| pod["status"]["phase"] == "Running";
    let early = world.becomes(&early, "running", runs).await?;
    let daemons = get(&world.admin, &daemons).await?.context("not served")?;
    let (ready, scheduled) = (
        since(&daemons["items"][0], "Ready")?,
        since(&early, "PodScheduled")?,
    );
    ensure!(
        ready <= scheduled,
        "a pod came at {scheduled}, and the daemon was ready at {ready}"
    );
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
    world.end_pod("early").await?;
    world.runs().await
}
