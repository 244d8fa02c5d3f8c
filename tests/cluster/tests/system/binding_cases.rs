//! What the reference's end-to-end tests ask of bindings, as far as seccomp goes.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::access::{namespace, remove_namespace};
use spo_cluster_tests::node::{self, wait};
use spo_cluster_tests::objects::create;

use crate::binding::Binding;
use crate::verify;
use crate::world::{GROUP, PROFILES, World, localhost, object, refuses};

const IMAGE: &str = "localhost/busybox:test";
const OTHER: &str = "localhost/busybox:next";
/// What the kernel has of a container that nobody bound.
const UNBOUND: &str = "- NoProfile: the pod names no profile; threads without a filter: 1";

fn spec(profile: &str, image: &str) -> Value {
    json!({ "profileRef": { "kind": "SeccompProfile", "name": profile }, "image": image })
}

/// A pod with a container of each image.
fn pod(name: &str) -> Value {
    let mut pod = node::pod(name, "sleep 1000");
    let mut second = pod["spec"]["containers"][0].clone();
    second["name"] = json!("second");
    second["image"] = json!(OTHER);
    if let Some(containers) = pod["spec"]["containers"].as_array_mut() {
        containers.push(second);
    }
    pod
}

/// Waits until a profile is used by these pods, or by none.
async fn is_used(world: &World, profile: &str, pods: &[&str]) -> Result<()> {
    let pods = pods.iter().map(|pod| format!("{}/{pod}", world.users));
    let pods: Vec<_> = pods.collect();
    let is = |found: &Value| {
        let finalizers = found["metadata"]["finalizers"].as_array();
        let mut finalizers = finalizers.into_iter().flatten();
        let workloads = found["status"]["activeWorkloads"].as_array();
        workloads.map_or(&[][..], Vec::as_slice) == pods
            && finalizers.any(|name| name == "in-use-by-active-pods") != pods.is_empty()
    };
    let path = format!("{PROFILES}/{profile}");
    world.becomes(&path, "used", is).await.map(drop)
}

/// By image and by `*`, beside what pods bring themselves, and in a namespace that did not opt in.
pub(crate) async fn images_and_all_others_are_bound_where_it_is_wanted(
    world: &World,
) -> Result<()> {
    const NAMES: [(&str, &str); 3] = [("image", "mkdir"), ("others", "rmdir"), ("own", "link")];
    for (profile, call) in NAMES {
        world.apply(profile, &refuses(&[call])).await?;
    }
    let elsewhere = namespace(&world.admin).await?;
    let bindings = format!("{GROUP}/namespaces/{elsewhere}/profilebindings");
    let binding = object("ProfileBinding", "image", &spec("image", IMAGE));
    create(&world.admin, &bindings, &binding).await??;
    let image = Binding::create(world, "image", &spec("image", IMAGE)).await?;
    let others = Binding::create(world, "others", &spec("others", "*")).await?;
    for (profile, _) in NAMES {
        world.installed(profile, 1).await?;
    }

    node::start(&world.admin, &elsewhere, &pod("left-alone")).await?;
    node::start(&world.admin, &world.users, &pod("plain")).await?;
    let mut own = pod("with-own");
    for container in own["spec"]["containers"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        container["securityContext"] = json!({ "seccompProfile": localhost("own") });
    }
    world.runs_pod(&own).await?;
    let running = |pod: &Value| pod["status"]["phase"] == "Running";
    wait(&world.admin, &world.users, "plain", running).await?;
    wait(&world.admin, &elsewhere, "left-alone", running).await?;
    for (namespace, expected) in [
        (
            &world.users,
            &[
                ("plain/main", "image Verified"),
                ("plain/second", "others Verified"),
                ("with-own/main", "image Verified"),
                ("with-own/second", "own Verified"),
            ][..],
        ),
        (
            &elsewhere,
            &[("left-alone/main", UNBOUND), ("left-alone/second", UNBOUND)],
        ),
    ] {
        let found = verify::has(world, namespace)?;
        let found = found.iter().map(|(key, value)| (&**key, &**value));
        let found: BTreeMap<_, _> = found.collect();
        let expected: BTreeMap<_, _> = expected.iter().copied().collect();
        ensure!(found == expected, "{found:#?}, not {expected:#?}");
    }
    image.counts_for(&["plain", "with-own"]).await?;
    others.counts_for(&["plain"]).await?;
    is_used(world, "image", &["plain", "with-own"]).await?;
    is_used(world, "others", &["plain"]).await?;
    is_used(world, "own", &["with-own"]).await?;

    for pod in ["plain", "with-own"] {
        world.end_pod(pod).await?;
    }
    remove_namespace(&world.admin, &elsewhere).await?;
    for (profile, _) in NAMES {
        is_used(world, profile, &[]).await?;
    }
    for binding in [image, others] {
        binding.counts_for(&[]).await?;
        binding.end().await?;
    }
    for (profile, _) in NAMES {
        world.delete_profile(profile).await?;
    }
    for (profile, _) in NAMES {
        world.gone(profile).await?;
    }
    Ok(())
}
