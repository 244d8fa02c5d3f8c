//! A cluster of the reference is taken over, and given back, with pods that go on; and neighbouring
//! versions of ours live together.

mod neighbours;
mod observed;
mod reference;
mod world;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::access::{namespace, remove_namespace};
use spo_cluster_tests::files::folder;
use spo_cluster_tests::node;
use spo_cluster_tests::objects::{create, get, lost, replace};

use self::observed::Observed;
use self::reference::{Reference, Release, definition};
use self::world::{CRDS, GROUP, MUTATING, OWN, V1, VALIDATING, World, items, name_of};

const FINALIZER: &str = "spo.x-k8s.io/profile";
const IN_USE: &str = "in-use-by-active-pods";

#[tokio::test]
async fn release_0_10_1_is_taken_over() -> Result<()> {
    let Some(world) = World::new().await? else {
        return Ok(());
    };
    let users = namespace(&world.admin).await?;
    take_over(&world, Release::V0_10_1, &users).await?;
    remove_namespace(&world.admin, &users).await?;
    world.sweep().await
}

#[tokio::test]
async fn release_1_0_1_is_taken_over_and_gets_it_back() -> Result<()> {
    let Some(world) = World::new().await? else {
        return Ok(());
    };
    let users = namespace(&world.admin).await?;
    take_over(&world, Release::V1_0_1, &users).await?;
    nothing_blocks(&world, &users).await?;
    certificates_change_hands(&world).await?;
    give_back(&world, &users).await?;
    remove_namespace(&world.admin, &users).await?;
    world.sweep().await
}

async fn take_over(world: &World, release: Release, users: &str) -> Result<()> {
    let reference = Reference {
        world,
        release,
        users,
    };
    // Before its webhook is there, which nobody answers.
    let old_path = format!("operator/{users}/web.json");
    let pods = [
        ("user", "operator/web.json"),
        ("older", old_path.as_str()),
        ("leaver", "operator/going.json"),
    ];
    reference.leave().await?;
    refuses(world, users, true).await?;
    label(world, users, Value::Null).await?;
    refuses(world, users, false).await?;
    for (name, profile) in pods {
        create_pod(world, users, name, profile).await?;
    }
    let mut before = Vec::new();
    for (name, _) in pods {
        before.push(running(world, users, name, 0).await?);
    }
    label(world, users, json!("")).await?;
    reference.delete_one().await?;

    let root = world.root();
    let files = ["web.json", "plain.json", "going.json"].map(|name| root.join(name));
    let files = [files.to_vec(), vec![root.join(users).join("web.json")]].concat();
    let observed = Observed::begin(files, "SCMP_ACT_ALLOW");
    let said = world.follow("## Coming from the reference").await?;
    ensure!(
        said.iter()
            .any(|said| said.contains("SecurityProfileNodeStatus")),
        "the plan does not name the statuses: {said:#?}"
    );
    let node = &world.node.name;
    for name in ["web", "plain", "off", "going"] {
        settled(world, name, users).await?;
    }
    let left = ["plain", "web", "off", "going"].map(|name| format!("seccompprofile-{name}-{node}"));
    let statuses = format!("{V1}/securityprofilenodestatuses");
    let are_ours = |list: &Value| {
        let others = items(list)
            .map(name_of)
            .filter(|name| *name != format!("confined-{node}"));
        others
            .into_iter()
            .all(|name| left.iter().any(|ours| ours == name))
    };
    world.becomes(&statuses, "ours alone", are_ours).await?;
    ensure!(!root.join("off.json").exists(), "it is disabled");
    observed.end()?;

    for ((name, _), before) in pods.iter().zip(&before) {
        let after = running(world, users, name, 0).await?;
        ensure!(after == *before, "{name} was {before}, and is {after}");
    }
    let path = format!("/api/v1/namespaces/{users}/pods");
    for (name, _) in pods {
        restart(world, users, name).await?;
    }
    ensure!(root.join("going.json").exists(), "the pod leaver uses it");
    let now = json!({ "gracePeriodSeconds": 0 });
    let leaver = format!("{path}/leaver");
    let gone =
        spo_cluster_tests::objects::send(&world.admin, http::Method::DELETE, &leaver, Some(&now));
    gone.await??;
    world
        .is_gone(&format!("{V1}/seccompprofiles/going"))
        .await?;
    world
        .until("the file is gone, too", async || {
            Ok((!root.join("going.json").exists()).then_some(()))
        })
        .await?;
    // New ones, too. No cert-manager is here, so that nobody trusts the webhook for bindings yet.
    label(world, users, Value::Null).await?;
    refuses(world, users, false).await?;
    create_pod(world, users, "new", "operator/web.json").await?;
    running(world, users, "new", 0).await?;
    Ok(())
}

async fn label(world: &World, users: &str, value: Value) -> Result<()> {
    let labels = json!({ "metadata": { "labels": { "spo.x-k8s.io/enable-binding": value } } });
    let path = format!("/api/v1/namespaces/{users}");
    world.merge(&path, &labels).await.map(drop)
}

/// A pod that runs on and on under a profile, which refuses to make folders.
fn pod(name: &str, profile: &str) -> Value {
    let script = "mkdir /tmp/x; echo mkdir $?; until [ -e /tmp/end ]; do sleep 1; done";
    let mut pod = node::pod(name, script);
    pod["spec"]["restartPolicy"] = json!("Always");
    pod["spec"]["securityContext"]["seccompProfile"] =
        json!({ "type": "Localhost", "localhostProfile": profile });
    pod
}

async fn create_pod(world: &World, users: &str, name: &str, profile: &str) -> Result<()> {
    node::start(&world.admin, users, &pod(name, profile)).await
}

/// Waits until the server refuses pods because nobody answers the old webhook, or no longer does. A
/// label of a namespace counts a moment later.
async fn refuses(world: &World, users: &str, expected: bool) -> Result<()> {
    let path = format!("/api/v1/namespaces/{users}/pods?dryRun=All");
    let pod = pod("probe", "operator/web.json");
    world
        .until("pods are refused, or not", async || {
            let refused = match create(&world.admin, &path, &pod).await? {
                Ok(_) => false,
                Err(refusal) if refusal.message.contains("binding.spo.io") => true,
                // The namespace has no account yet.
                Err(_) => return Ok(None),
            };
            Ok((refused == expected).then_some(()))
        })
        .await
}

/// Waits until a pod runs after so many restarts; returns which container it is.
async fn running(world: &World, users: &str, name: &str, restarts: u32) -> Result<Value> {
    let path = format!("/api/v1/namespaces/{users}/pods/{name}");
    let is_so = |pod: &Value| {
        let container = &pod["status"]["containerStatuses"][0];
        container["restartCount"] == restarts && container["state"]["running"].is_object()
    };
    let pod = world.becomes(&path, "running", is_so).await?;
    world
        .until("the filter holds", async || {
            let logs = node::logs(&world.admin, users, name).await?;
            Ok(logs.contains("mkdir 1").then_some(()))
        })
        .await?;
    Ok(pod["status"]["containerStatuses"][0]["containerID"].clone())
}

/// Ends the container, so that the kubelet starts another: with the file that the pod names.
async fn restart(world: &World, users: &str, name: &str) -> Result<()> {
    node::exec(users, name, &["touch", "/tmp/end"])?;
    running(world, users, name, 1).await.map(drop)
}

/// Waits until a profile says what is so, with our finalizers and no others.
async fn settled(world: &World, name: &str, users: &str) -> Result<()> {
    let path = format!("{V1}/seccompprofiles/{name}");
    let node = &world.node.name;
    let report = format!("{V1}/securityprofilenodestatuses/seccompprofile-{name}-{node}");
    let (state, pods, finalizers) = match name {
        "web" => (
            "Installed",
            vec!["older", "user"],
            json!([FINALIZER, IN_USE]),
        ),
        "off" => ("Disabled", vec![], json!([FINALIZER])),
        // None can be added to what is being deleted.
        "going" => (
            "Terminating",
            vec!["leaver"],
            json!([format!("{node}-deleted"), IN_USE]),
        ),
        _ => ("Installed", vec![], json!([FINALIZER])),
    };
    let pods: Vec<_> = pods.iter().map(|pod| format!("{users}/{pod}")).collect();
    let sorted = |list: &Value| {
        let mut list = list.as_array().cloned().unwrap_or_default();
        list.sort_by_key(ToString::to_string);
        list
    };
    let is_so = |profile: &Value| {
        let status = &profile["status"];
        let used = status["activeWorkloads"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        status["status"] == state
            && status["nodes"]["desired"] == 1
            && json!(used) == json!(pods)
            && sorted(&profile["metadata"]["finalizers"]) == sorted(&finalizers)
    };
    world.becomes(&path, "as it should be", is_so).await?;
    let is_so = |status: &Value| {
        status["status"]["status"] == state
            && (status["status"]["digest"].is_string() || state == "Disabled")
            && status["status"]["observedGeneration"].is_number()
    };
    world.becomes(&report, "ours", is_so).await?;
    Ok(())
}

/// What the reference held, and nobody here looks after, can be deleted.
async fn nothing_blocks(world: &World, users: &str) -> Result<()> {
    // Ours is in the place of theirs, and whoever filled in what is trusted goes on with it.
    let is_ours = |object: &Value| {
        let annotations = &object["metadata"]["annotations"];
        annotations["spo.x-k8s.io/configuration-hash"].is_string()
            && annotations["cert-manager.io/inject-ca-from"].is_string()
            && object["webhooks"].as_array().map(Vec::len) == Some(1)
    };
    world.becomes(MUTATING, "ours", is_ours).await?;
    for path in [
        format!("{V1}/namespaces/{users}/profilebindings/bound"),
        format!("{V1}/namespaces/{users}/profilerecordings/recorded"),
    ] {
        world.delete(&path).await?;
        world.is_gone(&path).await?;
    }
    let confined = format!("{V1}/selinuxprofiles/confined");
    let is_told = |profile: &Value| {
        profile["status"]["status"] == "Error"
            && profile["metadata"]["finalizers"] == json!([FINALIZER])
    };
    world
        .becomes(&confined, "told to be unsupported", is_told)
        .await?;
    world.delete(&confined).await?;
    world.is_gone(&confined).await?;
    let told = world.event("default", "LeftOnNodes").await?;
    ensure!(told.contains(&world.node.name), "{told}");
    Ok(())
}

/// cert-manager's certificates were left alone; without them, there are ours.
async fn certificates_change_hands(world: &World) -> Result<()> {
    let secret = format!("/api/v1/namespaces/{OWN}/secrets/webhook-server-cert");
    let theirs = world.get(&secret).await?;
    let annotation = &theirs["metadata"]["annotations"]["cert-manager.io/issuer-name"];
    ensure!(*annotation == "a", "{theirs:#}");
    world.follow("### Without cert-manager").await?;
    world
        .becomes(VALIDATING, "trusted", |object| {
            let mut webhooks = object["webhooks"].as_array().into_iter().flatten();
            webhooks.all(|webhook| webhook["clientConfig"]["caBundle"].is_string())
        })
        .await?;
    let ours = world.get(&secret).await?;
    ensure!(
        ours["metadata"]["labels"]["app.kubernetes.io/managed-by"] == OWN,
        "{ours:#}"
    );
    let bad = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "RawSelinuxProfile",
        "metadata": { "name": "bad" },
        "spec": { "policy": "(allow process" },
    });
    world
        .until("the webhook answers", async || {
            let answer = create(&world.admin, &format!("{V1}/rawselinuxprofiles"), &bad).await?;
            let refusal = answer.err().context("a bad profile is taken")?;
            Ok(refusal.message.contains("spec.policy").then_some(()))
        })
        .await
}

async fn give_back(world: &World, users: &str) -> Result<()> {
    let selector = json!({ "spec": { "namespaceSelector": { "matchLabels": { "a": "b" } } } });
    let plain = format!("{V1}/seccompprofiles/plain");
    world.merge(&plain, &selector).await?;
    let files = ["web.json", "plain.json"].map(|name| world.root().join(name));
    let observed = Observed::begin(files.to_vec(), "SCMP_ACT_ALLOW");
    let before = running(world, users, "user", 1).await?;
    world.follow("### Going back").await?;
    ensure!(get(&world.admin, VALIDATING).await?.is_none());

    for file in folder("deploy/crds")? {
        let theirs = definition(&file.object);
        let path = format!("{CRDS}/{}", name_of(&theirs));
        let mut now = world.get(&path).await?;
        now["spec"] = theirs["spec"].clone();
        replace(&world.admin, &path, &now).await??;
    }
    // A server goes by a definition a moment after it has taken it.
    world
        .becomes(&plain, "as the reference sees it", |profile| {
            profile["spec"]["namespaceSelector"].is_null() && profile["status"]["nodes"].is_null()
        })
        .await?;
    let statuses = world
        .get(&format!("{V1}/securityprofilenodestatuses"))
        .await?;
    ensure!(items(&statuses).next().is_none(), "{statuses:#}");
    let profiles = world.get(&format!("{V1}/seccompprofiles")).await?;
    let mut names: Vec<_> = items(&profiles).map(name_of).collect();
    names.sort_unstable();
    ensure!(names == ["off", "plain", "web"], "{names:?}");
    for profile in items(&profiles) {
        ensure!(profile["metadata"]["finalizers"].is_null(), "{profile:#}");
        // As its daemon does first.
        let mut theirs = profile.clone();
        theirs["metadata"]["finalizers"] = json!([format!("{}-deleted", world.node.name)]);
        let path = format!("{V1}/seccompprofiles/{}", name_of(profile));
        let written = replace(&world.admin, &path, &theirs).await??;
        let lost = lost(&theirs["spec"], &written["spec"]);
        ensure!(lost.is_empty(), "{}: {lost:?}", name_of(profile));
        let status = replace(&world.admin, &format!("{path}/status"), &written).await??;
        ensure!(status["status"]["status"] == profile["status"]["status"]);
    }
    let spod = format!("{V1}/namespaces/{OWN}/securityprofilesoperatordaemons/spod");
    let now = world.get(&spod).await?;
    replace(&world.admin, &spod, &now).await??;
    observed.end()?;
    for name in ["off.json", "going.json"] {
        ensure!(!world.root().join(name).exists(), "{name}");
    }
    ensure!(fs::read_dir(world.root().join(users))?.count() == 1);
    let after = running(world, users, "user", 1).await?;
    ensure!(after == before, "the pod was {before}, and is {after}");
    node::exec(users, "user", &["touch", "/tmp/end"])?;
    running(world, users, "user", 2).await.map(drop)
}
