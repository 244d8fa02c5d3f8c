//! Bindings whose profile no node has, or not all: what a pod gets, and the event that says it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo::api::bindings::BINDINGS;
use spo_cluster_tests::node::{self, wait};
use spo_cluster_tests::objects::create;

use crate::binding::Binding;
use crate::second::Second;
use crate::verify;
use crate::world::{PROFILES, World, object, refuses, skipped};

/// A profile, why a pod is not taken with it, and why one waits for it.
struct Case {
    profile: &'static str,
    refused: &'static str,
    waits: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        profile: "missing",
        refused: "which does not exist; create it",
        waits: "there is no SeccompProfile `missing`",
    },
    Case {
        profile: "disabled",
        refused: "which is disabled; set its spec.state to Enabled",
        waits: "is Disabled there: set its spec.state to Enabled",
    },
    Case {
        profile: "not-usable",
        refused: "which is refused: node ",
        waits: "is Error there: ",
    },
    Case {
        profile: "partial",
        refused: "which is one of several that are merged when their recording ends; bind what they become",
        waits: "is Partial there: name what it is merged into",
    },
];
/// What the kernel has of a container under the runtime's default.
const DEFAULT: &str =
    "- NoProfile: the pod names the runtime's own profile; threads with one filter: 1";
const POLICIES: [&str; 3] = ["Wait", "RuntimeDefault", "Refuse"];

/// The name of a pod, and of the binding that is for it.
fn name(profile: &str, policy: &str) -> String {
    format!("{profile}-{}", policy.to_lowercase())
}

/// Creates a binding that is for the pod of its name.
async fn bind<'w>(world: &'w World, profile: &str, policy: &str) -> Result<Binding<'w>> {
    let name = name(profile, policy);
    let spec = json!({
        "profileRef": { "kind": "SeccompProfile", "name": profile },
        "image": "localhost/busybox:*",
        "podSelector": { "matchLabels": { "pod": name } },
        "whenNotInstalled": policy,
    });
    Binding::create(world, &name, &spec).await
}

fn pod(name: &str) -> Value {
    let mut pod = node::pod(name, "sleep 1000");
    pod["metadata"]["labels"] = json!({ "pod": name });
    pod
}

/// Waits until an event tells something of an object.
async fn told(world: &World, name: &str, reason: &str, what: &str) -> Result<()> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", world.users);
    let says = |event: &Value| {
        let note = event["note"].as_str().unwrap_or_default();
        event["reason"] == reason && event["regarding"]["name"] == name && note.contains(what)
    };
    let event = format!("an event {reason} of {name}");
    let told = world.becomes(&path, &event, |events| {
        events["items"]
            .as_array()
            .is_some_and(|all| all.iter().any(says))
    });
    told.await.map(drop)
}

/// What the webhook wrote on a pod.
fn outcome(pod: &Value) -> Result<Value> {
    let annotation = pod["metadata"]["annotations"][BINDINGS].as_str();
    let mut applied: Value = serde_json::from_str(annotation.context("it is not bound")?)?;
    Ok(applied[0]["outcome"].take())
}

/// Waits until the kubelet holds the container of a pod back.
async fn is_held_back(world: &World, name: &str) -> Result<Value> {
    let held = |pod: &Value| {
        let waits = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        *waits == "CreateContainerError"
    };
    wait(&world.admin, &world.users, name, held).await
}

pub(crate) async fn a_pod_waits_is_refused_or_runs_without_and_is_told(
    world: &World,
) -> Result<()> {
    let mut disabled = refuses(&["mkdir"]);
    disabled["state"] = json!("Disabled");
    let mut based = refuses(&["mkdir"]);
    based["baseProfileName"] = json!("not-there");
    let mut partial = object("SeccompProfile", "partial", &refuses(&["mkdir"]));
    partial["metadata"]["labels"] = json!({ "spo.x-k8s.io/partial": "true" });
    world.apply("disabled", &disabled).await?;
    world.apply("not-usable", &based).await?;
    create(&world.admin, PROFILES, &partial).await??;
    world.is("disabled", "Disabled").await?;
    world.is("not-usable", "Error").await?;
    world.is("partial", "Partial").await?;

    let mut bindings = Vec::new();
    for Case { profile, .. } in &CASES {
        for policy in POLICIES {
            bindings.push(bind(world, profile, policy).await?);
            let name = name(profile, policy);
            let path = format!("/api/v1/namespaces/{}/pods", world.users);
            let made = create(&world.admin, &path, &pod(&name)).await?;
            ensure!(made.is_err() == (policy == "Refuse"), "{name}: {made:?}");
        }
    }
    for Case {
        profile,
        refused,
        waits,
    } in &CASES
    {
        let [waiting, without, refusing] = POLICIES.map(|policy| name(profile, policy));
        told(world, &refusing, "PodRefused", refused).await?;
        let running = |pod: &Value| pod["status"]["phase"] == "Running";
        let pod = wait(&world.admin, &world.users, &without, running).await?;
        ensure!(outcome(&pod)? == "RuntimeDefault", "{pod:#}");
        let what = format!("no node had the SeccompProfile {profile} ");
        told(world, &without, "RunsWithoutProfile", &what).await?;
        let pod = is_held_back(world, &waiting).await?;
        ensure!(outcome(&pod)? == "Waiting", "{pod:#}");
        told(world, &waiting, "ProfileNotOnNode", waits).await?;
    }
    let found = verify::has(world, &world.users)?;
    let without = CASES.map(|case| name(case.profile, "RuntimeDefault"));
    let without = without.map(|pod| (format!("{pod}/main"), DEFAULT.to_owned()));
    ensure!(found == without.into(), "{found:#?}");

    for Case { profile, .. } in &CASES {
        for policy in ["Wait", "RuntimeDefault"] {
            world.end_pod(&name(profile, policy)).await?;
        }
    }
    for binding in bindings {
        binding.end().await?;
    }
    for Case { profile, .. } in &CASES[1..] {
        world.delete_profile(profile).await?;
        world.gone(profile).await?;
    }
    skipped(
        "a pod that waits in the scheduler's queue: API server 1.20 has no gates; its kubelet holds \
         it back, and unit tests have the gate and its event",
    );
    Ok(())
}

/// Something else, where a profile's file is to be.
struct Folder(PathBuf);

impl Folder {
    fn create(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The next test finds out if it is left.
        fs::remove_dir(&self.0).ok();
    }
}

/// That counts as installed: whoever is on another node is told there.
pub(crate) async fn a_profile_that_is_on_some_nodes_only_is_bound_and_missed(
    world: &World,
) -> Result<()> {
    let mut second = Second::join(world, "some-node").await?;
    let in_its_place = Folder::create(world.file("some"))?;
    world.apply("some", &refuses(&["mkdir"])).await?;
    let path = format!("{PROFILES}/some");
    let one_of_two = json!({ "ready": 1, "desired": 2 });
    let is = |profile: &Value| profile["status"]["nodes"] == one_of_two;
    world.becomes(&path, "on one node", is).await?;
    let binding = bind(world, "some", "Refuse").await?;
    let name = name("some", "Refuse");
    node::start(&world.admin, &world.users, &pod(&name)).await?;
    let found = is_held_back(world, &name).await?;
    ensure!(outcome(&found)? == "Bound", "{found:#}");
    told(world, &name, "ProfileNotOnNode", "is Error there: ").await?;
    world.end_pod(&name).await?;
    binding.end().await?;
    drop(in_its_place);
    second.kill()?;
    second.leave(world).await?;
    world.delete_profile("some").await?;
    world.gone("some").await
}
