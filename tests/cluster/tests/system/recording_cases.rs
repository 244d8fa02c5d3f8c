//! What the reference's end-to-end tests ask of recordings, of both recorders.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::access::{namespace, remove_namespace};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::{create, get};

use crate::logs::Auditd;
use crate::recording::{BPF, LOGS, Recorder, Recording, calls, ensure_whole, evidence};
use crate::world::{PROFILES, SPOD, World, localhost, object};

const LABEL: &str = "spo.x-k8s.io/enable-recording";
const LOCK: &str = "active-seccomp-profile-recording-lock";

/// What containers do makes these calls, by the shell itself: processes that live for a moment only are
/// not always known to whoever reads audit records. Of two dollars Kubernetes makes one.
const TIMES: &str = "times; sleep 5";
const POLL: &str = "read -t 1 x; sleep 5";
const KILL: &str = "kill -0 $$$$; sleep 5";

fn is_last(profile: &Value) -> bool {
    evidence(profile, "end") == "the pod ended"
}

async fn recorded(recording: &Recording<'_>, rest: &str, call: &str) -> Result<Value> {
    let profile = recording.profile(rest, is_last).await?;
    ensure_whole(&profile)?;
    let all = calls(&profile);
    ensure!(all.contains(call), "{call} is not in {all:?}");
    Ok(profile)
}

/// The profiles of a recording.
async fn profiles(world: &World, recording: &str) -> Result<Vec<Value>> {
    let path = format!("{PROFILES}?labelSelector=spo.x-k8s.io%2Frecording-id%3D{recording}");
    let mut list = get(&world.admin, &path).await?.context("not served")?;
    let items = list["items"].as_array_mut().map(std::mem::take);
    Ok(items.unwrap_or_default())
}

fn names(profiles: &[Value]) -> BTreeSet<&str> {
    let names = profiles
        .iter()
        .filter_map(|profile| profile["metadata"]["name"].as_str());
    names.collect()
}

/// Waits until a recording has these profiles, and no others: those that were merged go.
async fn are_left(world: &World, recording: &str, expected: &[&str]) -> Result<Vec<Value>> {
    let expected = expected.iter().copied().collect();
    let what = format!("of {recording}, {expected:?} are left");
    let left = world.until(&what, async || {
        let found = profiles(world, recording).await?;
        Ok((names(&found) == expected).then_some(found))
    });
    left.await
}

pub(crate) async fn delete_all(world: &World, recording: &str) -> Result<()> {
    for name in names(&profiles(world, recording).await?) {
        world.delete_profile(name).await?;
    }
    Ok(())
}

pub(crate) async fn each_takes_the_containers_it_names(world: &World) -> Result<()> {
    of_one_pod(world, &BPF).await
}

pub(crate) async fn each_takes_the_containers_it_names_by_logs(world: &World) -> Result<()> {
    let Some(_auditd) = Auditd::start(world)? else {
        return Ok(());
    };
    of_one_pod(world, &LOGS).await
}

/// Several recordings of one pod with several containers: of all of them, of one, and such that are not
/// to be installed.
async fn of_one_pod(world: &World, recorder: &'static Recorder) -> Result<()> {
    let all = Recording::begin_by(recorder, world, "several", "several", "None").await?;
    let chosen = json!({ "containers": ["helps"] });
    let chosen = all.of_the_same("chosen", &chosen).await?;
    let off = json!({ "containers": ["helps"], "disableProfileAfterRecording": true });
    let off = all.of_the_same("off", &off).await?;
    let merged = json!({
        "containers": ["helps"],
        "disableProfileAfterRecording": true,
        "mergeStrategy": "Containers",
    });
    let merged = all.of_the_same("merged-off", &merged).await?;

    let mut pod = all.pod("several", POLL);
    let container = |name: &str, script: &str| {
        let mut one = pod["spec"]["containers"][0].clone();
        one["name"] = json!(name);
        one["command"][2] = json!(script);
        one
    };
    let containers = [container("serves", POLL), container("helps", KILL)];
    let init = container("prepares", TIMES);
    pod["spec"]["containers"] = json!(containers);
    pod["spec"]["initContainers"] = json!([init]);
    node::run_to_end(&world.admin, &world.users, &pod).await?;

    for (container, call) in [("prepares", "times"), ("serves", "poll"), ("helps", "kill")] {
        let profile = recorded(&all, container, call).await?;
        let others = ["times", "poll", "kill"].into_iter();
        let others: Vec<_> = others
            .filter(|other| *other != call && calls(&profile).contains(other))
            .collect();
        ensure!(others.is_empty(), "{container} has {others:?}");
    }
    world.installed("several-helps", 1).await?;
    recorded(&chosen, "helps", "kill").await?;
    let profile = recorded(&off, "helps", "kill").await?;
    ensure!(profile["spec"]["state"] == "Disabled", "{profile:#}");
    world.is("off-helps", "Disabled").await?;
    ensure!(!world.file("off-helps").exists(), "it is installed");
    for recording in [&all, &chosen, &off, &merged] {
        recording.end().await?;
    }
    let profile = merged.profile("helps", |_| true).await?;
    ensure_whole(&profile)?;
    ensure!(profile["spec"]["state"] == "Disabled", "{profile:#}");
    for (recording, expected) in [
        (
            "several",
            &["several-helps", "several-prepares", "several-serves"][..],
        ),
        ("chosen", &["chosen-helps"]),
        ("off", &["off-helps"]),
        ("merged-off", &["merged-off-helps"]),
    ] {
        are_left(world, recording, expected).await?;
        delete_all(world, recording).await?;
    }
    world.end_pod("several").await
}

pub(crate) async fn a_static_pod_is_recorded(world: &World) -> Result<()> {
    of_a_static_pod(world, &BPF, Value::Null).await
}

/// Its file has to name the profile that logs.
pub(crate) async fn a_static_pod_is_recorded_by_logs(world: &World) -> Result<()> {
    let Some(_auditd) = Auditd::start(world)? else {
        return Ok(());
    };
    let profile = json!({ "seccompProfile": localhost("log-enricher-trace") });
    of_a_static_pod(world, &LOGS, profile).await
}

/// A pod that the kubelet has from a file.
async fn of_a_static_pod(world: &World, recorder: &'static Recorder, context: Value) -> Result<()> {
    let recording = Recording::begin_by(recorder, world, "static", "static", "None").await?;
    if recorder.name == LOGS.name {
        world.installed("log-enricher-trace", 1).await?;
    }
    let mut pod = recording.pod("by-file", "read -t 1 x; sleep 1000");
    pod["metadata"]["namespace"] = json!(world.users);
    pod["spec"]["containers"][0]["securityContext"] = context;
    let file = world.node.kubelet.join("manifests/by-file.json");
    fs::write(&file, pod.to_string()).with_context(|| format!("{}", file.display()))?;
    let name = format!("by-file-{}", world.node.name);
    let told = recording
        .becomes("told", |found| {
            let node = &found["status"]["nodes"][0];
            node["pods"] == json!([name]) && node["containers"][0]["running"] == 1
        })
        .await;
    // It ends when its file goes.
    fs::remove_file(&file)?;
    told?;
    let profile = recorded(&recording, "main", "poll").await?;
    let pod = format!("{}/{name}", world.users);
    ensure!(evidence(&profile, "pod") == &json!(pod), "{profile:#}");
    recording.end().await?;
    world.delete_profile("static-main").await?;
    let path = format!("/api/v1/namespaces/{}/pods/{name}", world.users);
    world.not_there(&path).await
}

pub(crate) async fn a_deployment_is_scaled_while_it_is_recorded(world: &World) -> Result<()> {
    scaled(world, &BPF, "None").await
}

pub(crate) async fn a_deployment_is_scaled_and_merged_by_logs(world: &World) -> Result<()> {
    let Some(_auditd) = Auditd::start(world)? else {
        return Ok(());
    };
    scaled(world, &LOGS, "Containers").await
}

/// From two replicas to five, of which one does more, to one, and away.
async fn scaled(world: &World, recorder: &'static Recorder, strategy: &str) -> Result<()> {
    let recording = Recording::begin_by(recorder, world, "scaled", "scaled", strategy).await?;
    let script = "set -C; echo > /shared/first && read -t 1 x; sleep 1000";
    let mut template = recording.pod("", script);
    let folder = format!("/run/{}-{}", world.users, recorder.name);
    template["spec"]["restartPolicy"] = json!("Always");
    template["spec"]["volumes"] = json!([{
        "name": "shared", "hostPath": { "path": folder, "type": "DirectoryOrCreate" },
    }]);
    template["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "shared", "mountPath": "/shared" }]);
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "scaled" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "scaled" } },
            "template": {
                "metadata": { "labels": { "app": "scaled" } },
                "spec": template["spec"],
            },
        },
    });
    let all = format!("/apis/apps/v1/namespaces/{}/deployments", world.users);
    create(&world.admin, &all, &deployment).await??;
    let path = format!("{all}/scaled");
    for replicas in [2, 5, 1] {
        let scale = json!({ "spec": { "replicas": replicas } });
        world.merge(&path, &scale).await?;
        let is_so = |found: &Value| {
            let active = found["status"]["activeWorkloads"].as_array();
            let node = &found["status"]["nodes"][0];
            active.map_or(0, Vec::len) == replicas
                && node["containers"][0]["running"] == replicas
                && is_locked(found)
        };
        recording
            .becomes(&format!("of {replicas} pods"), is_so)
            .await?;
    }
    world
        .delete(&format!("{path}?propagationPolicy=Background"))
        .await?;
    recording
        .becomes("of no pod", |found| {
            found["status"]["activeWorkloads"].is_null() && !is_locked(found)
        })
        .await?;

    let each = world
        .until("a profile of each replica", async || {
            let mut each = profiles(world, "scaled").await?;
            // The one that is merged has another name.
            each.retain(|one| one["metadata"]["name"] != "scaled-main");
            Ok((each.len() == 5 && each.iter().all(is_last)).then_some(each))
        })
        .await?;
    let mut with_poll = 0;
    for profile in &each {
        ensure_whole(profile)?;
        let name = profile["metadata"]["name"].as_str().unwrap_or_default();
        // It ends as the pod's does.
        let pod = evidence(profile, "pod").as_str().unwrap_or_default();
        let suffix = pod.rsplit('-').next().unwrap_or_default();
        ensure!(
            name.starts_with("scaled-main-") && name.ends_with(suffix),
            "{name} is of {pod}"
        );
        with_poll += usize::from(calls(profile).contains("poll"));
        let is_partial = &profile["metadata"]["labels"]["spo.x-k8s.io/partial"] == "true";
        ensure!(is_partial == (strategy == "Containers"), "{profile:#}");
        let status = if is_partial { "Partial" } else { "Installed" };
        world.is(name, status).await?;
        ensure!(
            world.file(name).exists() != is_partial,
            "the file of {name}"
        );
    }
    ensure!(with_poll == 1, "{with_poll} of them did more");
    recording.end().await?;
    if strategy == "Containers" {
        let left = are_left(world, "scaled", &["scaled-main"]).await?;
        let coverage = &left[0]["metadata"]["annotations"]["spo.x-k8s.io/syscall-coverage"];
        let coverage: Value = serde_json::from_str(coverage.as_str().unwrap_or_default())?;
        ensure!(
            coverage["total"] == 5 && coverage["syscalls"]["poll"] == 1,
            "{coverage}"
        );
    } else {
        let each: Vec<_> = names(&each).into_iter().collect();
        are_left(world, "scaled", &each).await?;
    }
    delete_all(world, "scaled").await
}

fn is_locked(recording: &Value) -> bool {
    let finalizers = recording["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|all| all.iter().any(|one| one == LOCK))
}

/// What `kubectl run` made, and in a namespace without the label nothing.
pub(crate) async fn a_pod_of_kubectl_run_that_is_done_is_recorded(world: &World) -> Result<()> {
    let recording = Recording::begin(world, "once", "None").await?;
    let other = namespace(&world.admin).await?;
    let recordings = format!(
        "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/{other}/profilerecordings"
    );
    let spec = json!({
        "kind": "SeccompProfile",
        "recorder": "Bpf",
        "podSelector": { "matchLabels": { "app": "once" } },
    });
    let unheard = object("ProfileRecording", "unheard", &spec);
    create(&world.admin, &recordings, &unheard).await??;
    for space in [&other, &world.users] {
        let pod = recording.pod("before", "kill -0 $$$$");
        let arguments = [
            "--namespace",
            space,
            "run",
            "once",
            "--image=localhost/busybox:test",
            "--image-pull-policy=Never",
            "--restart=Never",
            "--labels=app=once",
            "--command",
            "--",
        ];
        let command = pod["spec"]["containers"][0]["command"].as_array();
        let command = command
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str());
        let arguments: Vec<_> = arguments.into_iter().chain(command).collect();
        world
            .until("there is an account", async || {
                World::kubectl(&arguments).map(Some)
            })
            .await?;
        let is_done = |pod: &Value| pod["status"]["phase"] == "Succeeded";
        node::wait(&world.admin, space, "once", is_done).await?;
    }
    // It was the later one.
    recorded(&recording, "once", "kill").await?;
    ensure!(profiles(world, "unheard").await?.is_empty());
    let path = format!("{recordings}/unheard");
    let unheard = get(&world.admin, &path).await?.context("it is gone")?;
    ensure!(unheard["status"]["nodes"].is_null(), "{unheard:#}");
    let path = format!("/api/v1/namespaces/{other}/pods/once");
    let pod = get(&world.admin, &path).await?.context("it is gone")?;
    ensure!(marks(&pod).is_empty(), "{pod:#}");
    remove_namespace(&world.admin, &other).await?;
    recording.end().await?;
    world.delete_profile("once-once").await?;
    world.end_pod("once").await
}

/// The annotations by which pods are recorded.
fn marks(pod: &Value) -> Vec<&String> {
    let annotations = pod["metadata"]["annotations"].as_object();
    let keys = annotations.into_iter().flat_map(|all| all.keys());
    keys.filter(|key| key.starts_with("io.containers.trace-"))
        .collect()
}

/// Pods need a label of their own where memory is to be saved.
pub(crate) async fn where_memory_is_saved_labelled_pods_are_recorded(world: &World) -> Result<()> {
    let saved = json!({ "spec": { "enableMemoryOptimization": true } });
    world.merge(SPOD, &saved).await?;
    let auditd = Auditd::start(world)?;
    let mut recordings = vec![Recording::begin(world, "labelled", "None").await?];
    if auditd.is_some() {
        recordings.push(Recording::begin_by(&LOGS, world, "logged", "labelled", "None").await?);
        world.installed("log-enricher-trace", 1).await?;
    }
    for (name, label) in [
        ("without", None),
        ("other", Some("yes")),
        ("with", Some("true")),
    ] {
        let mut pod = recordings[0].pod(name, POLL);
        pod["spec"]["containers"][0]["name"] = json!(name);
        if let Some(label) = label {
            pod["metadata"]["labels"][LABEL] = json!(label);
        }
        let made = node::run_to_end(&world.admin, &world.users, &pod).await?;
        let marked = marks(&made).len();
        let expected = if name == "with" { recordings.len() } else { 0 };
        ensure!(marked == expected, "{name}: {made:#}");
    }
    for recording in &recordings {
        // It was the last one.
        recorded(recording, "with", "poll").await?;
        recording.end().await?;
    }
    for name in ["labelled", "logged"] {
        let found = profiles(world, name).await?;
        ensure!(
            names(&found).iter().all(|name| name.ends_with("-with")),
            "{:?}",
            names(&found)
        );
        delete_all(world, name).await?;
    }
    for name in ["without", "other", "with"] {
        world.end_pod(name).await?;
    }
    let all = json!({ "spec": { "enableMemoryOptimization": null } });
    world.merge(SPOD, &all).await?;
    world.runs().await
}
