//! Two neighbouring versions of ours, as during a rollout. The other one is newer: what it writes,
//! and its definitions, have fields and words that this one does not know.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::files::folder;
use spo_cluster_tests::node;
use spo_cluster_tests::objects::{create, get, replace};

use crate::reference::{Release, spec};
use crate::world::{CRDS, GROUP, NEWER, OWN, V1, World, items, name_of};

/// How long nothing is to happen.
const QUIET: Duration = Duration::from_secs(20);
/// A server goes by a definition a moment after it has taken it.
const SETTLING: Duration = Duration::from_secs(3);
/// A word that is none of this version's.
const WORD: &str = "Verifying";

#[tokio::test]
async fn neighbouring_versions_live_together() -> Result<()> {
    let Some(world) = World::new().await? else {
        return Ok(());
    };
    world.install().await?;
    newer_configuration(&world).await?;
    world.is_running().await?;
    for name in ["shared", "other"] {
        let profile = json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "SeccompProfile",
            "metadata": { "name": name },
            "spec": spec(Release::V1_0_1, true),
        });
        create(&world.admin, &format!("{V1}/seccompprofiles"), &profile).await??;
    }
    let other = format!("{V1}/seccompprofiles/other");
    let is_installed = |profile: &Value| profile["status"]["status"] == "Installed";
    world.becomes(&other, "installed", is_installed).await?;
    let file = world.root().join("other.json");
    let inode = fs::metadata(&file)?.ino();

    let report = newer_node(&world).await?;
    let shared = format!("{V1}/seccompprofiles/shared");
    let waits = |profile: &Value| {
        let message = &profile["status"]["conditions"][0]["message"];
        profile["status"]["status"] == "Pending" && message.to_string().contains(NEWER)
    };
    world
        .becomes(&shared, "told to wait for the newer node", waits)
        .await?;
    quiet(&world, "a report of a newer daemon").await?;
    let now = world.get(&report).await?;
    ensure!(
        now["status"]["status"] == WORD && now["status"]["proof"] == "x",
        "{now:#}"
    );

    // The newer operator led, and this one takes over.
    let leader = leader(&world).await?;
    let status = json!({ "status": { "status": WORD, "proof": "x" } });
    for path in [&shared, &other] {
        world.merge(&format!("{path}/status"), &status).await?;
    }
    let daemons = format!("/apis/apps/v1/namespaces/{OWN}/daemonsets/spod");
    let image =
        json!({ "spec": { "template": { "metadata": { "annotations": { "newer": "1" } } } } });
    world.merge(&daemons, &image).await?;
    let path = format!("/api/v1/namespaces/{OWN}/pods/{leader}");
    world.delete(&path).await?;
    world
        .until("another leads", async || {
            let now = self::leader(&world).await?;
            Ok((!now.is_empty() && now != leader).then_some(()))
        })
        .await?;
    world
        .becomes(&other, "installed again", is_installed)
        .await?;
    world.becomes(&shared, "waiting again", waits).await?;
    world
        .becomes(&daemons, "this version's", |daemons| {
            daemons["spec"]["template"]["metadata"]["annotations"]["newer"].is_null()
        })
        .await?;
    world.is_running().await?;
    quiet(&world, "after a change of the leader").await?;
    ensure!(
        fs::metadata(&file)?.ino() == inode,
        "the file was written again"
    );

    // The newer daemon of the node wrote before this one came in its place.
    let node = &world.node.name;
    let own = format!("{V1}/securityprofilenodestatuses/seccompprofile-other-{node}");
    let mut said = world.get(&own).await?;
    said["status"]["status"] = json!(WORD);
    said["status"]["proof"] = json!("x");
    replace(&world.admin, &format!("{own}/status"), &said).await??;
    let is_ours = |status: &Value| status["status"]["status"] == "Installed";
    world.becomes(&own, "ours again", is_ours).await?;
    quiet(&world, "a daemon came after a newer one").await?;
    world.delete(&format!("/api/v1/nodes/{NEWER}")).await?;
    world.becomes(&shared, "installed", is_installed).await?;
    world.sweep().await
}

/// Fails if an object of ours changes, or one of our processes writes anything but leases.
async fn quiet(world: &World, when: &str) -> Result<()> {
    let log = node::about()?.context("no cluster")?.audit_log;
    // What is under way may end.
    tokio::time::sleep(SETTLING).await;
    let (before, length) = (versions(world).await?, fs::metadata(&log)?.len());
    tokio::time::sleep(QUIET).await;
    let after = versions(world).await?;
    let changed: Vec<_> = after
        .iter()
        .filter(|(name, version)| before.get(*name) != Some(version))
        .collect();
    ensure!(changed.is_empty(), "{when}: {changed:?}");
    let text = fs::read(&log)?;
    let text = text.get(usize::try_from(length)?..).unwrap_or_default();
    let mut heard = 0;
    for line in String::from_utf8_lossy(text).lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        heard += 1;
        let user = line["user"]["username"].as_str().unwrap_or_default();
        let ours = user.starts_with(&format!("system:serviceaccount:{OWN}:"));
        let reads = ["get", "list", "watch"]
            .iter()
            .any(|verb| line["verb"] == *verb);
        let lease = line["objectRef"]["resource"] == "leases";
        ensure!(
            !ours || reads || lease,
            "{when}: {user} {}",
            line["requestURI"]
        );
    }
    ensure!(heard > 0, "the audit log has nothing: it proves nothing");
    Ok(())
}

/// All objects that our processes write, and their versions.
async fn versions(world: &World) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for path in [
        format!("{V1}/seccompprofiles"),
        format!("{V1}/securityprofilenodestatuses"),
        format!("{V1}/securityprofilesoperatordaemons"),
        format!("/apis/apps/v1/namespaces/{OWN}/daemonsets"),
        format!("/apis/apps/v1/namespaces/{OWN}/deployments"),
        format!("/api/v1/namespaces/{OWN}/secrets"),
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations".to_owned(),
    ] {
        let list = world.get(&path).await?;
        for object in items(&list) {
            // Of what runs, the cluster itself writes the status.
            let counter = if path.starts_with("/apis/apps/") {
                "generation"
            } else {
                "resourceVersion"
            };
            let version = object["metadata"][counter].to_string();
            versions.insert(format!("{path}/{}", name_of(object)), version);
        }
    }
    Ok(versions)
}

async fn leader(world: &World) -> Result<String> {
    let path = format!(
        "/apis/coordination.k8s.io/v1/namespaces/{OWN}/leases/security-profiles-operator-lock"
    );
    let lease = get(&world.admin, &path).await?.unwrap_or_default();
    let holder = lease["spec"]["holderIdentity"].as_str();
    Ok(holder.unwrap_or_default().to_owned())
}

/// Makes a schema that of a newer version.
fn newer(schema: &mut Value) {
    if schema["enum"].is_array()
        && let Value::Object(fields) = schema
    {
        fields.remove("enum");
    }
    if schema["type"] == "object" && schema["additionalProperties"].is_null() {
        schema["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        fields.values_mut().for_each(newer);
    }
    if schema["items"].is_object() {
        newer(&mut schema["items"]);
    }
}

impl World {
    /// Waits until all that is installed runs.
    async fn is_running(&self) -> Result<()> {
        let spod = format!("{V1}/namespaces/{OWN}/securityprofilesoperatordaemons/spod");
        let is_running = |spod: &Value| {
            let ready = &spod["status"]["conditions"][0];
            spod["status"]["state"] == "Running"
                && ready["observedGeneration"] == spod["metadata"]["generation"]
        };
        self.becomes(&spod, "running", is_running).await?;
        let daemons = format!("/apis/apps/v1/namespaces/{OWN}/daemonsets/spod");
        let are_current = |daemons: &Value| {
            let status = &daemons["status"];
            status["observedGeneration"] == daemons["metadata"]["generation"]
                && status["updatedNumberScheduled"] == status["desiredNumberScheduled"]
                && status["numberReady"] == status["desiredNumberScheduled"]
        };
        self.becomes(&daemons, "current", are_current).await?;
        // Of the pods that end, the cluster says that they are current and ready.
        let pods = format!("/api/v1/namespaces/{OWN}/pods?labelSelector=name%3Dspod");
        let have_begun = |pods: &Value| {
            let mut pods = items(pods).peekable();
            pods.peek().is_some()
                && pods.all(|pod| {
                    pod["metadata"]["deletionTimestamp"].is_null()
                        && pod["status"]["containerStatuses"][0]["ready"] == true
                })
        };
        self.becomes(&pods, "ready", have_begun).await?;
        self.becomes(&spod, "running", is_running).await?;
        let webhook = format!("/apis/apps/v1/namespaces/{OWN}/deployments/{OWN}-webhook");
        let is_available =
            |webhook: &Value| webhook["status"]["availableReplicas"] == webhook["spec"]["replicas"];
        self.becomes(&webhook, "available", is_available).await?;
        Ok(())
    }
}

/// Has the server take what a newer version writes, and writes some of it.
async fn newer_configuration(world: &World) -> Result<()> {
    for file in folder("deploy/crds")? {
        let path = format!("{CRDS}/{}", name_of(&file.object));
        let mut crd = world.get(&path).await?;
        let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            if schema["properties"][part].is_object() {
                newer(&mut schema["properties"][part]);
            }
        }
        replace(&world.admin, &path, &crd).await??;
    }
    tokio::time::sleep(SETTLING).await;
    let spod = format!("{V1}/namespaces/{OWN}/securityprofilesoperatordaemons/spod");
    world.becomes(&spod, "there", Value::is_object).await?;
    let change = json!({
        "spec": {
            "oracle": { "enable": true },
            "security": { "oracle": true },
        },
        "status": { "state": WORD },
    });
    world.merge(&spod, &change).await?;
    world.merge(&format!("{spod}/status"), &change).await?;
    Ok(())
}

/// A node with a daemon of the newer version, which no daemon of this one comes to.
async fn newer_node(world: &World) -> Result<String> {
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": NEWER, "labels": { "kubernetes.io/os": "linux" } },
        "spec": { "taints": [{ "key": "example.com/newer", "effect": "NoSchedule" }] },
    });
    create(&world.admin, "/api/v1/nodes", &node).await??;
    let profile = world.get(&format!("{V1}/seccompprofiles/shared")).await?;
    let collection = format!("{V1}/securityprofilenodestatuses");
    let report = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "SecurityProfileNodeStatus",
        "metadata": {
            "name": format!("seccompprofile-shared-{NEWER}"),
            "labels": {
                "spo.x-k8s.io/node-name": NEWER,
                "spo.x-k8s.io/profile-id": "SeccompProfile-shared",
                "spo.x-k8s.io/profile-kind": "SeccompProfile",
                "spo.x-k8s.io/profile-state": WORD,
            },
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/v1"),
                "kind": "SeccompProfile",
                "name": "shared",
                "uid": profile["metadata"]["uid"],
                "controller": true,
            }],
        },
        "spec": { "nodeName": NEWER, "zone": "a" },
    });
    let mut made = create(&world.admin, &collection, &report).await??;
    made["status"] = json!({
        "status": WORD,
        "reason": "StillVerifying",
        "observedGeneration": 1,
        "proof": "x",
    });
    let path = format!("{collection}/{}", name_of(&made));
    replace(&world.admin, &format!("{path}/status"), &made).await??;
    Ok(path)
}
