//! A thousand nodes that all say at once how far five profiles got. The nodes are objects, and we
//! write what their daemons would.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use serde::Serialize;
use serde_json::{Value, json};
use spo::api::names;
use spo_cluster_tests::installed::{GROUP, until};
use spo_cluster_tests::meter::Memory;
use spo_cluster_tests::objects::{create, get};

use crate::watched::Watched;
use crate::world::{KIND, OPERATOR, PROFILES, STATUSES, World};

const NODES: usize = 1000;
const BURST_PROFILES: usize = 5;
const AT_ONCE: usize = 32;
const DAEMONS: &str = "/apis/apps/v1/namespaces/security-profiles-operator/daemonsets/spod";

#[derive(Debug, Serialize)]
pub(crate) struct Burst {
    pub(crate) nodes: usize,
    pub(crate) profiles: usize,
    /// How long it took to write them.
    pub(crate) written_seconds: f64,
    /// From the last one to when all profiles say that all nodes have them.
    pub(crate) told_after_seconds: f64,
    /// Requests of the operator for each of the profiles, while that went on.
    pub(crate) patches_per_profile: f64,
    pub(crate) operator_before: Memory,
    pub(crate) operator_after: Memory,
    /// What the operator's memory grew by for each status.
    pub(crate) bytes_per_status: u64,
    /// As JSON, as every watch sends it.
    pub(crate) status_size: usize,
    pub(crate) profile_size: usize,
    /// What etcd's file grew by for each status, with the versions that are not yet compacted.
    pub(crate) etcd_bytes_per_status: u64,
}

pub(crate) async fn measure(world: &World) -> Result<Burst> {
    let admin = &world.admin;
    let nodes: Vec<_> = (0..NODES)
        .map(|number| format!("burst-{number:04}"))
        .collect();
    stream::iter(&nodes)
        .map(|node| world.add_node(node))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    until("daemons are wanted on all nodes", async || {
        let daemons = get(admin, DAEMONS).await?.unwrap_or_default();
        Ok(daemons["status"]["desiredNumberScheduled"] == NODES + 1)
    })
    .await?;
    let mut owners = BTreeMap::new();
    for number in 0..BURST_PROFILES {
        let name = format!("burst-{number}");
        let made = world.apply(&name).await?;
        let uid = made["metadata"]["uid"].as_str().context("no uid")?;
        owners.insert(name, uid.to_owned());
    }
    world.quiet().await?;
    let operator_before = Memory::of(world.operator.id())?;
    let etcd_before = etcd_size(world).await?;
    let mut all = Watched::objects(admin, PROFILES, "installed everywhere", |profile| {
        profile["status"]["status"] == "Installed"
            && profile["status"]["nodes"]["ready"] == NODES + 1
    })
    .await?;
    let mark = world.audit.mark()?;
    let start = Instant::now();
    let statuses = nodes
        .iter()
        .flat_map(|node| owners.iter().map(move |(name, uid)| (node, name, uid)));
    stream::iter(statuses)
        .map(|(node, name, uid)| say(world, node, name, uid))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    let written = Instant::now();
    let mut told = written;
    for name in owners.keys() {
        told = told.max(all.when(name).await?);
    }
    world.quiet().await?;
    let etcd_after = etcd_size(world).await?;
    let operator_after = Memory::of(world.operator.id())?;
    let patches = world.audit.since(mark)?.into_iter().filter(|asked| {
        asked.account() == OPERATOR
            && asked.verb() == "patch"
            && asked.resource() == "seccompprofiles"
            && asked.name().is_some_and(|name| owners.contains_key(name))
    });
    let patches = patches.count();
    let count = NODES * BURST_PROFILES;
    let each = |before: u64, after: u64| after.saturating_sub(before) / count as u64;
    let one = names::node_status(KIND, "burst-0", &nodes[0]);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let patches_per_profile = patches as f64 / BURST_PROFILES as f64;
    Ok(Burst {
        nodes: NODES,
        profiles: BURST_PROFILES,
        written_seconds: (written - start).as_secs_f64(),
        told_after_seconds: (told - written).as_secs_f64(),
        patches_per_profile,
        bytes_per_status: each(
            operator_before.anonymous * 1024,
            operator_after.anonymous * 1024,
        ),
        operator_before,
        operator_after,
        status_size: size(world, &format!("{STATUSES}/{one}")).await?,
        profile_size: size(world, &format!("{PROFILES}/burst-0")).await?,
        etcd_bytes_per_status: each(etcd_before, etcd_after),
    })
}

/// Writes what the daemon of a node would: an object, and its status.
async fn say(world: &World, node: &str, profile: &str, uid: &str) -> Result<()> {
    let name = names::node_status(KIND, profile, node);
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "SecurityProfileNodeStatus",
        "metadata": {
            "name": name,
            "labels": {
                names::PROFILE_ID: names::profile_id(KIND, profile),
                names::PROFILE_KIND: KIND,
                names::PROFILE_STATE: "Installed",
                names::NODE_NAME: names::node_label(node),
            },
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1"),
                "kind": KIND,
                "name": profile,
                "uid": uid,
                "controller": true,
            }],
        },
        "spec": { "nodeName": node },
    });
    create(&world.admin, STATUSES, &object).await??;
    let status = json!({ "status": {
        "status": "Installed",
        "digest": format!("sha256:{}", names::digest(profile)),
        "observedGeneration": 1,
        "since": "2026-11-27T00:00:00Z",
    }});
    let request = Request::patch(format!("{STATUSES}/{name}/status"))
        .header("Content-Type", "application/merge-patch+json")
        .body(status.to_string().into_bytes())?;
    let written: Result<Value, _> = world.admin.request(request).await;
    written.with_context(|| format!("failed to write the status {name}"))?;
    Ok(())
}

async fn size(world: &World, path: &str) -> Result<usize> {
    let object = world
        .admin
        .request_text(Request::get(path).body(Vec::new())?);
    Ok(object.await?.trim_end().len())
}

async fn etcd_size(world: &World) -> Result<u64> {
    let metrics = Request::get("/metrics").body(Vec::new())?;
    let text = world.admin.request_text(metrics).await?;
    let line = text.lines().find(|line| {
        line.starts_with("etcd_db_total_size_in_bytes")
            || line.starts_with("apiserver_storage_size_bytes")
    });
    let value = line.and_then(|line| line.rsplit(' ').next());
    let value: f64 = value
        .context("the API server has no metric of etcd's size")?
        .parse()?;
    ensure!(value >= 0.0, "etcd has no size");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size"
    )]
    Ok(value as u64)
}
