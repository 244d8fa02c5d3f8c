//! The profiles of `deploy/library`: servers run under them without a denial. They come from a recording of
//! the same servers, doing the same.

mod servers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo::api::names::{COVERAGE, SPEC_DIGEST};
use spo::profile::seccomp::{Document, read, write_object};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::{create, get};
use spo_cluster_tests::observer::Containers;

use self::servers::{SERVERS, Server};
use crate::observed::observe;
use crate::recording::{BPF, Recording, ensure_whole, evidence, without};
use crate::recording_cases::delete_all;
use crate::world::{GROUP, PROFILES, World, localhost, skipped};

/// Set by `cargo xtask record-library`: the profiles are recorded anew first.
const RECORD: &str = "SPO_RECORD_LIBRARY";
/// The recording, and the label of what it records.
const LIBRARY: &str = "library";
const RUNTIMES: [&str; 2] = ["runc", "crun"];
/// How often all of it is recorded: what a server calls depends on what happens at the same time.
const ROUNDS: usize = 3;
/// What no server serves without.
const NEEDED: &str = "listen";
/// What servers run in and with, besides packages of their own.
const PACKAGES: [&str; 4] = ["containerd", "crun", "libc6", "runc"];
/// What is no evidence for others: it is about the recording's object.
const OWN: [&str; 2] = ["spo.x-k8s.io/recording-uid", SPEC_DIGEST];

/// A file of the library.
fn file(name: &str) -> PathBuf {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/library");
    library.join(format!("{name}.yaml"))
}

fn object(name: &str) -> Result<Value> {
    let file = file(name);
    let context = || format!("failed to read {}", file.display());
    let text = std::fs::read_to_string(&file).with_context(context)?;
    serde_saphyr::from_str(&text).with_context(context)
}

pub(crate) async fn servers_run_under_the_profiles_of_the_library(world: &World) -> Result<()> {
    // Their images are made of these.
    for program in ["nginx", "redis-server", "/usr/bin/python3"] {
        if Command::new(program).arg("--version").output().is_err() {
            skipped(&format!("there is no {program}: install it"));
            return Ok(());
        }
    }
    for server in &SERVERS {
        server.configure(world).await?;
    }
    // Without it, those that an earlier run registered may be gone.
    BPF.switch_on(world).await?;
    if std::env::var_os(RECORD).is_some() {
        record(world).await?;
    }
    for server in &SERVERS {
        install(world, server).await?;
    }
    let observer = observe(world)?;
    let mut bound = BTreeSet::new();
    let mut less = BTreeSet::new();
    for server in &SERVERS {
        for runtime in RUNTIMES {
            let mut pod = server.pod(runtime, "bound");
            pod["metadata"]["labels"] = json!({ LIBRARY: server.name });
            // The API server learns a moment later whom it is to ask.
            let tried = async || {
                let tried =
                    create(&world.admin, &format!("{}?dryRun=All", pods(world)), &pod).await?;
                under_its_profile(&tried?).map(Some)
            };
            world.until("the binding counts", tried).await?;
            bound.insert(start(world, &pod).await?);
        }
        let mut pod = server.alone("less");
        pod["spec"]["containers"][0]["securityContext"] =
            json!({ "seccompProfile": localhost(&format!("{}-less", server.name)) });
        less.insert(start(world, &pod).await?);
    }
    let bound = ended(world, &bound).await?;
    let less = ended(world, &less).await?;
    let seen = observer.stop();
    for pod in &bound {
        under_its_profile(pod)?;
        let denied = denied(pod, &seen)?;
        ensure!(denied.is_empty(), "{denied:?}");
    }
    all_are(world, &bound, "Succeeded")?;
    all_are(world, &less, "Failed")?;
    for pod in &less {
        let denied = denied(pod, &seen)?;
        let is_needed = |one: &String| one.ends_with(&format!(": {NEEDED}"));
        ensure!(denied.iter().any(is_needed), "{}: {denied:?}", name_of(pod));
    }
    for pod in bound.iter().chain(&less) {
        world.end_pod(name_of(pod)).await?;
    }
    for server in &SERVERS {
        world.delete(&binding(world, server.name)).await?;
        world.not_there(&binding(world, server.name)).await?;
        world.delete_profile(server.name).await?;
        world
            .delete_profile(&format!("{}-less", server.name))
            .await?;
        server.remove(world).await?;
    }
    Ok(())
}

/// Applies what is shipped, and the control: the profile lacks a call. The binding is for the images that
/// are here, and enforces.
async fn install(world: &World, server: &Server) -> Result<()> {
    let name = server.name;
    let path = file(name);
    World::kubectl(&["apply", "-f", path.to_str().context("no path")?])?;
    let less = without(&object(name)?, NEEDED)?;
    world.apply(&format!("{name}-less"), &less).await?;
    for profile in [name, &format!("{name}-less")] {
        world.installed(profile, 1).await?;
    }
    let enabled = json!({ "metadata": { "labels": { "spo.x-k8s.io/enable-binding": "" } } });
    let space = format!("/api/v1/namespaces/{}", world.users);
    world.merge(&space, &enabled).await?;
    let mut bound = object(&format!("{name}-binding"))?;
    let spec = &mut bound["spec"];
    ensure!(spec["mode"] == "Complain", "{spec}: one begins so");
    spec["mode"] = Value::Null;
    spec["image"] = json!(server.image);
    spec["podSelector"] = json!({ "matchLabels": { LIBRARY: name } });
    let all = binding(world, "");
    create(&world.admin, all.trim_end_matches('/'), &bound).await??;
    Ok(())
}

fn binding(world: &World, name: &str) -> String {
    format!("{GROUP}/namespaces/{}/profilebindings/{name}", world.users)
}

fn pods(world: &World) -> String {
    format!("/api/v1/namespaces/{}/pods", world.users)
}

/// Starts a pod, and returns its name.
async fn start(world: &World, pod: &Value) -> Result<String> {
    node::start(&world.admin, &world.users, pod).await?;
    let name = pod["metadata"]["name"].as_str().context("no name")?;
    Ok(name.to_owned())
}

/// Waits until pods have ended, however that was.
async fn ended(world: &World, names: &BTreeSet<String>) -> Result<Vec<Value>> {
    let path = pods(world);
    let ended = world.until("servers and clients end", async || {
        let list = get(&world.admin, &path).await?.context("not served")?;
        let all = list["items"].as_array().into_iter().flatten();
        let own = all.filter(|pod| is_over(pod) && names.contains(name_of(pod)));
        let own: Vec<_> = own.cloned().collect();
        Ok((own.len() == names.len()).then_some(own))
    });
    ended.await.with_context(|| said(world, names))
}

/// Whether nothing more comes of a pod: where a client fails, its server runs on.
fn is_over(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let containers = pod["status"]["containerStatuses"].as_array();
    let mut containers = containers.into_iter().flatten();
    let code = |one: &Value| one["state"]["terminated"]["exitCode"].as_i64();
    ["Succeeded", "Failed"].contains(&phase)
        || containers.any(|one| code(one).is_some_and(|code| code != 0))
}

/// Whether pods ended as they are to end.
fn all_are(world: &World, pods: &[Value], phase: &str) -> Result<()> {
    let others = pods.iter().filter(|pod| pod["status"]["phase"] != phase);
    let others: BTreeSet<_> = others.map(|pod| name_of(pod).to_owned()).collect();
    ensure!(
        others.is_empty(),
        "not {phase}: {others:?}\n{}",
        said(world, &others)
    );
    Ok(())
}

/// The last that pods printed.
fn said(world: &World, names: &BTreeSet<String>) -> String {
    let said = names.iter().map(|name| {
        let own = [
            "--namespace",
            &world.users,
            "logs",
            "--all-containers",
            "--prefix",
            "--tail=8",
        ];
        let said = World::kubectl(&[&own[..], &[name]].concat());
        said.unwrap_or_else(|error| format!("{name}: {error:#}\n"))
    });
    said.collect()
}

fn name_of(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether the webhook gave the server's container what the binding says.
fn under_its_profile(pod: &Value) -> Result<()> {
    let name = &pod["metadata"]["labels"][LIBRARY];
    let name = name.as_str().context("no label")?;
    let container = &pod["spec"]["containers"][0];
    let profile = &container["securityContext"]["seccompProfile"];
    ensure!(*profile == localhost(name), "{container:#}");
    Ok(())
}

/// What was denied in a pod's containers, of each of which something was seen.
fn denied(pod: &Value, seen: &Containers) -> Result<Vec<String>> {
    let pod_name = name_of(pod);
    let statuses = pod["status"]["containerStatuses"].as_array();
    let mut found = Vec::new();
    for status in statuses.context("no containers")? {
        let name = status["name"].as_str().unwrap_or_default();
        let id = status["containerID"].as_str().unwrap_or_default();
        let subjects = seen.of(id.trim_start_matches("containerd://"));
        ensure!(
            !subjects.is_empty(),
            "nothing was seen of {pod_name}/{name}"
        );
        let denied = subjects.iter().flat_map(|subject| subject.denied.keys());
        found.extend(denied.map(|call| format!("{pod_name}/{name}: {call}")));
    }
    Ok(found)
}

/// Records all servers, and writes their profiles.
async fn record(world: &World) -> Result<()> {
    let recording = Recording::begin(world, LIBRARY, "Containers").await?;
    for round in 1..=ROUNDS {
        let mut names = BTreeSet::new();
        for server in &SERVERS {
            for runtime in RUNTIMES {
                let mut pod = server.pod(runtime, &round.to_string());
                pod["metadata"]["labels"] = json!({ "app": LIBRARY });
                names.insert(start(world, &pod).await?);
            }
        }
        all_are(world, &ended(world, &names).await?, "Succeeded")?;
        for name in &names {
            recorded(world, name).await?;
            world.end_pod(name).await?;
        }
    }
    recording.end().await?;
    for server in &SERVERS {
        let profile = recording.profile(server.name, |_| true).await?;
        write(server, profile)?;
    }
    delete_all(world, LIBRARY).await
}

/// Waits until all of a pod's server is handed in.
async fn recorded(world: &World, pod: &str) -> Result<()> {
    let (server, _) = pod.rsplit_once("-on-").context("no server")?;
    let path = format!("{PROFILES}/{LIBRARY}-{server}-{pod}");
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    world.becomes(&path, "recorded", is_last).await.map(drop)
}

/// Writes a file of the library: what was recorded, with its evidence.
fn write(server: &Server, mut profile: Value) -> Result<()> {
    ensure_whole(&profile)?;
    let replicas = ROUNDS * RUNTIMES.len();
    ensure!(
        evidence(&profile, "profiles") == &replicas.to_string(),
        "{profile:#}"
    );
    let chance = by_chance(&profile)?;
    ensure!(
        chance.is_empty(),
        "{}: {chance:?} are called by chance: have client.py bring them about",
        server.name
    );
    let packages = packages(server)?;
    let metadata = &mut profile["metadata"];
    let mut annotations = metadata["annotations"].take();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations
            .retain(|key, _| key.starts_with("spo.x-k8s.io/") && !OWN.contains(&key.as_str()));
        annotations.insert(
            "spo.x-k8s.io/recording-packages".to_owned(),
            json!(packages),
        );
    }
    *metadata = json!({
        "name": server.name,
        "labels": { "app.kubernetes.io/name": server.name, "app.kubernetes.io/part-of": "spo-library" },
        "annotations": annotations,
    });
    let object = json!({
        "apiVersion": profile["apiVersion"],
        "kind": profile["kind"],
        "metadata": profile["metadata"],
        "spec": profile["spec"],
    });
    let (read, problems) = read("recorded", object.to_string().as_bytes());
    ensure!(problems.is_empty(), "{problems:?}");
    let Some(Document::Object(object)) = read else {
        anyhow::bail!("no SeccompProfile was recorded");
    };
    let text = format!(
        "# Recorded by `cargo xtask record-library`: do not edit. What it covers: docs/library.md\n{}",
        write_object(&object)?
    );
    let file = file(server.name);
    std::fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
}

/// What some of the replicas called, though others were started and asked in the same way.
fn by_chance(profile: &Value) -> Result<Vec<String>> {
    let coverage = profile["metadata"]["annotations"][COVERAGE].as_str();
    let coverage: Value = serde_json::from_str(coverage.context("no coverage")?)?;
    let counts = coverage["syscalls"].as_object().context("no calls")?;
    let always = [ROUNDS, ROUNDS * RUNTIMES.len()];
    let counts = counts.iter();
    let chance = counts.filter(|(_, count)| !always.iter().any(|always| *count == always));
    Ok(chance
        .map(|(name, count)| format!("{name} ({count})"))
        .collect())
}

/// The packages that were recorded, with their versions.
fn packages(server: &Server) -> Result<String> {
    let mut names: Vec<_> = PACKAGES.iter().chain(server.packages).copied().collect();
    names.sort_unstable();
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${Version}, "])
        .args(&names)
        .output()
        .context("failed to run dpkg-query, which tells what is recorded")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "dpkg-query: {said}");
    let told = String::from_utf8_lossy(&output.stdout);
    Ok(told.trim_end_matches(", ").to_owned())
}
