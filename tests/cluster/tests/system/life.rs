//! From a profile to a pod that it binds, and back.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::{create, get};

use crate::world::{GROUP, PROFILES, World, localhost, object, refuses, skipped, user};

pub(crate) async fn a_profile_gets_to_a_node_binds_a_pod_and_stays_while_it_is_used(
    world: &World,
) -> Result<()> {
    let (admin, users) = (&world.admin, &world.users);
    let policy = json!({ "policy": "(allow process" });
    let bad = object("RawSelinuxProfile", "bad", &policy);
    let refused = create(admin, &format!("{GROUP}/rawselinuxprofiles"), &bad).await?;
    let refused = refused.expect_err("the webhook refuses it");
    ensure!(refused.to_string().contains("spec.policy"), "{refused}");

    world.apply("life", &refuses(&["mkdir", "mkdirat"])).await?;
    world.installed("life", 1).await?;
    let script = "grep Seccomp: /proc/self/status; mkdir /tmp/x; echo mkdir $?; sleep 1000";
    let mut pod = node::pod("user", script);
    pod["spec"]["securityContext"]["seccompProfile"] = localhost("life");
    let mut lost = node::pod("lost", "true");
    lost["spec"]["securityContext"]["seccompProfile"] = localhost("not-there");
    node::start(admin, users, &lost).await?;
    world.runs_pod(&pod).await?;
    let profile = format!("{PROFILES}/life");
    let in_use =
        |profile: &Value| profile["status"]["activeWorkloads"] == json!([format!("{users}/user")]);
    world.becomes(&profile, "used", in_use).await?;
    let logs = world.until("the script has begun", async || {
        let logs = node::logs(admin, users, "user").await?;
        Ok(logs.contains("mkdir 1").then_some(logs))
    });
    let logs = logs.await?;
    ensure!(
        logs.contains("Seccomp:\t2") && logs.contains("not permitted"),
        "{logs}"
    );
    let told = world.until("the pod is told", async || {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{users}/events");
        let events = get(admin, &path).await?.unwrap_or_default();
        let mut events = events["items"].as_array().into_iter().flatten();
        Ok(events
            .find(|event| event["reason"] == "ProfileNotOnNode")
            .cloned())
    });
    let event = told.await?;
    ensure!(event["regarding"]["name"] == "lost", "{event:#}");
    ensure!(
        event["note"]
            .to_string()
            .contains("`operator/not-there.json`"),
        "{event:#}"
    );

    world.delete_profile("life").await?;
    world.is("life", "Terminating").await?;
    // Whoever starts a container now finds the file.
    ensure!(world.file("life").exists(), "the file is gone");
    world.end_pod("user").await?;
    world.end_pod("lost").await?;
    world.gone("life").await?;
    processes_have_no_rights(world)
}

/// None of our processes has a capability, or root's id, or no filter.
fn processes_have_no_rights(world: &World) -> Result<()> {
    for verb in ["operator", "daemon", "webhook"] {
        let found = world.node.processes(verb)?;
        ensure!(!found.is_empty(), "no spo {verb} runs");
        for id in found {
            let status = fs::read_to_string(format!("/proc/{id}/status"))?;
            for line in [
                "Uid:\t65535\t65535\t65535\t65535",
                "CapEff:\t0000000000000000",
                "CapPrm:\t0000000000000000",
                "NoNewPrivs:\t1",
                "Seccomp:\t2",
            ] {
                ensure!(status.contains(line), "spo {verb}: not {line}:\n{status}");
            }
        }
    }
    Ok(())
}

/// Acceptance 5 of the reference.
pub(crate) async fn profiles_stay_for_pods_that_name_them_in_any_way(world: &World) -> Result<()> {
    let waiting = |name: &str| node::pod(name, "sleep 1000");
    let mut pods = vec![user("of-pod", "of-pod")];
    let mut pod = waiting("of-container");
    pod["spec"]["containers"][0]["securityContext"]["seccompProfile"] = localhost("of-container");
    pods.push(pod);
    let mut pod = waiting("of-init");
    let mut first = pod["spec"]["containers"][0].clone();
    first["name"] = json!("first");
    first["command"] = json!(["true"]);
    first["securityContext"]["seccompProfile"] = localhost("of-init");
    pod["spec"]["initContainers"] = json!([first]);
    pods.push(pod);
    for (name, key) in [
        ("of-annotation", "seccomp.security.alpha.kubernetes.io/pod"),
        (
            "of-annotations",
            "container.seccomp.security.alpha.kubernetes.io/main",
        ),
    ] {
        let mut pod = waiting(name);
        let path = format!("localhost/operator/{name}.json");
        pod["metadata"]["annotations"] = json!({ key: path });
        pods.push(pod);
    }
    let names: Vec<String> = pods
        .iter()
        .map(|pod| {
            pod["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    for name in &names {
        world.apply(name, &refuses(&["mkdir"])).await?;
    }
    for (name, pod) in names.iter().zip(&pods) {
        world.installed(name, 1).await?;
        world.runs_pod(pod).await?;
    }
    for name in &names {
        let path = format!("{PROFILES}/{name}");
        let pod = json!([format!("{}/{name}", world.users)]);
        world
            .becomes(&path, "used", |profile| {
                profile["status"]["activeWorkloads"] == pod
            })
            .await?;
        world.delete_profile(name).await?;
    }
    for name in &names {
        let profile = world.is(name, "Terminating").await?;
        let finalizers = profile["metadata"]["finalizers"].to_string();
        ensure!(finalizers.contains("in-use-by-active-pods"), "{finalizers}");
        ensure!(world.file(name).exists(), "the file of {name} is gone");
        world.end_pod(name).await?;
    }
    for name in &names {
        world.gone(name).await?;
    }
    skipped(
        "a profile of an ephemeral container: API server 1.20 has none unless it is told to; tests \
         of plans have them",
    );
    Ok(())
}

/// They are taken, held by nothing, and their status says that nothing happens.
pub(crate) async fn kinds_that_are_not_there_yet_say_so(world: &World) -> Result<()> {
    let kinds = [
        (
            "AppArmorProfile",
            "apparmorprofiles",
            json!({ "abstract": {} }),
        ),
        (
            "SelinuxProfile",
            "selinuxprofiles",
            json!({ "allow": { "var_log_t": { "dir": ["open"] } } }),
        ),
        (
            "RawSelinuxProfile",
            "rawselinuxprofiles",
            json!({ "policy": "(blockinherit container)" }),
        ),
    ];
    for (kind, plural, spec) in &kinds {
        let object = object(kind, "later", spec);
        create(&world.admin, &format!("{GROUP}/{plural}"), &object).await??;
    }
    for (_, plural, _) in &kinds {
        let path = format!("{GROUP}/{plural}/later");
        let told = world.becomes(&path, "unsupported", |profile| {
            let status = &profile["status"];
            status["status"] == "Error" && status["conditions"][0]["reason"] == "Unsupported"
        });
        told.await?;
        world.delete(&path).await?;
        world.not_there(&path).await?;
    }
    Ok(())
}
