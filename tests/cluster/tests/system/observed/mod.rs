//! What is recorded of workloads of all kinds is what a second observer saw, and is what they need.

mod workloads;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use spo::profile::base::BASE_SYSCALLS;
use spo_cluster_tests::node::{self, exec};
use spo_cluster_tests::objects::{get, send};
use spo_cluster_tests::observer::{Containers, Observer, Subject};

use self::workloads::{ALONE, CONTAINERS, DISPENSABLE, MANY, Round, TOGETHER};
use crate::recording::{Recording, calls, ensure_whole, evidence, without};
use crate::world::{PROFILES, World};

const RECORDED: Round = Round {
    name: "recorded",
    bound: None,
    short: 50,
    many: 20,
};
const BOUND: Round = Round {
    name: "bound",
    bound: Some(""),
    ..RECORDED
};
/// The control: their profiles lack a call.
const LESS: Round = Round {
    name: "less",
    bound: Some("-less"),
    short: 3,
    many: 3,
};

/// A container that ran.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Ran {
    pod: String,
    uid: String,
    name: String,
    id: String,
}

pub(crate) async fn what_is_recorded_is_what_a_second_observer_saw(world: &World) -> Result<()> {
    let alone = Recording::begin(world, ALONE, "None").await?;
    let together = alone.beside(TOGETHER, "Containers").await?;
    let observer = observe(world)?;
    RECORDED.create(world).await?;
    let mut ran = done(world, RECORDED).await?;
    // It does something that its pod does not name, and ends the pod.
    let person = ["sh", "-c", "cd /tmp; echo a > a; ln a b; echo > end"];
    let output = exec(&world.users, &RECORDED.named("probed"), &person)?;
    ensure!(output.status.success(), "{output:?}");
    world
        .until("the probed pod ended", async || {
            let ended = pods(world, RECORDED).await?;
            let ended = ended
                .iter()
                .filter(|pod| pod["status"]["phase"] == "Succeeded");
            Ok((ended.count() == RECORDED.ending() + 1).then_some(()))
        })
        .await?;
    ran.extend(containers(&pods(world, RECORDED).await?));
    // These end so.
    delete_all(world, RECORDED, "apps/v1", "deployments", "replica").await?;
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    let mut recorded = Vec::new();
    for (_, name) in CONTAINERS.iter().filter(|(by, _)| *by == ALONE) {
        recorded.push(alone.profile(name, is_last).await?);
    }
    let partial = format!(
        "{PROFILES}?labelSelector=spo.x-k8s.io%2Frecording-id%3D{TOGETHER}%2Cspo.x-k8s.io%2Fpartial"
    );
    let replicas = RECORDED.pods() - 4;
    let partial = world.becomes(&partial, "all recorded", |list| {
        let all = list["items"].as_array();
        let last = all.map(|all| all.iter().filter(|one| is_last(one)).count());
        last == Some(replicas)
    });
    let partial = partial.await?;
    recorded.extend(partial["items"].as_array().cloned().unwrap_or_default());
    let seen = observer.stop();
    add_forgotten(&mut ran, &seen);

    let mut different = Vec::new();
    for profile in &recorded {
        ensure_whole(profile)?;
        if let Err(error) = same(profile, &ran, &seen) {
            different.push(format!("{error:#}"));
        }
    }
    ensure!(different.is_empty(), "{different:#?}");
    counted(&alone, &ran, &seen).await?;
    counted(&together, &ran, &seen).await?;
    let crashed = recorded
        .iter()
        .find(|one| one["metadata"]["name"] == "alone-crashes");
    let runs = crashed.map(|one| evidence(one, "runs").to_string());
    let own = ran.iter().filter(|one| one.name == "crashes");
    let own = own.count();
    ensure!(
        runs.as_deref() == Some("\"2\"") && own == 2,
        "{runs:?} recorded, {own} seen"
    );
    let probed = recorded
        .iter()
        .find(|one| one["metadata"]["name"] == "alone-probed");
    let left_out = probed.map(|one| evidence(one, "left-out").to_string());
    ensure!(
        left_out
            .as_deref()
            .is_some_and(|text| text.contains("ln a b")),
        "{left_out:?}"
    );
    remove(world, RECORDED).await?;
    alone.end().await?;
    together.end().await?;
    bound(world).await
}

/// The same workloads run under what was recorded of them, without a denial; and not without one, if a
/// call is missing.
async fn bound(world: &World) -> Result<()> {
    let all = || CONTAINERS.into_iter().chain([MANY]);
    for (recording, name) in all() {
        let profile = format!("{recording}-{name}");
        let is = |found: &Value| {
            found["metadata"]["labels"]["spo.x-k8s.io/partial"].is_null() && !found.is_null()
        };
        let path = format!("{PROFILES}/{profile}");
        let found = world.becomes(&path, "merged", is).await?;
        ensure_whole(&found)?;
        let less = without(&found, DISPENSABLE)?;
        world.apply(&format!("{profile}-less"), &less).await?;
    }
    for (recording, name) in all() {
        world.installed(&format!("{recording}-{name}"), 1).await?;
        world
            .installed(&format!("{recording}-{name}-less"), 1)
            .await?;
    }
    let observer = observe(world)?;
    BOUND.create(world).await?;
    LESS.create(world).await?;
    let mut bound = done(world, BOUND).await?;
    let less = done(world, LESS).await?;
    for round in [BOUND, LESS] {
        // As a probe of its does.
        let probe = ["sh", "-c", "cd /tmp; mkdir q; rmdir q; true"];
        let output = exec(&world.users, &round.named("probed"), &probe)?;
        ensure!(output.status.success(), "{output:?}");
    }
    let seen = observer.stop();
    add_forgotten(&mut bound, &seen);
    let mut runs = BTreeMap::<_, usize>::new();
    for one in &bound {
        *runs.entry(&one.name).or_default() += 1;
    }
    ensure!(bound.len() == BOUND.pods() + 3, "{runs:?} ran");
    for one in &bound {
        let subjects = seen.of(&one.id);
        ensure!(!subjects.is_empty(), "nothing was seen of {}", one.pod);
        for Subject { denied, .. } in subjects {
            ensure!(denied.is_empty(), "{}/{}: {denied:?}", one.pod, one.name);
        }
    }
    for (_, name) in all() {
        let own = less.iter().filter(|one| one.name == name);
        let mut denied = own.flat_map(|one| seen.of(&one.id)).map(|one| &one.denied);
        let is_denied =
            denied.any(|denied| denied.get(DISPENSABLE).is_some_and(|times| *times > 0));
        ensure!(is_denied, "{name}: nothing is denied");
    }
    for round in [BOUND, LESS] {
        remove(world, round).await?;
    }
    for (recording, name) in all() {
        for profile in [
            format!("{recording}-{name}"),
            format!("{recording}-{name}-less"),
        ] {
            world.delete_profile(&profile).await?;
        }
    }
    Ok(())
}

pub(crate) fn observe(world: &World) -> Result<Observer> {
    let containerd: Result<Vec<u32>, _> = world
        .node
        .processes_with("comm", b"containerd\n")?
        .into_iter()
        .map(u32::try_from)
        .collect();
    let containerd = containerd?;
    ensure!(containerd.len() == 1, "{containerd:?} are containerd");
    let [_, _, number, _] = world.node.host_address.octets();
    Ok(Observer::start(&format!("node-{number}"), &containerd))
}

async fn pods(world: &World, round: Round) -> Result<Vec<Value>> {
    let path = format!(
        "/api/v1/namespaces/{}/pods?{}",
        world.users,
        round.selector()
    );
    let list = get(&world.admin, &path).await?.context("not served")?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Waits until all have done what they do, and tells which containers ran; some run on.
async fn done(world: &World, round: Round) -> Result<BTreeSet<Ran>> {
    // Of a container that runs again, a kubelet does not keep all runs.
    let ran = RefCell::new(BTreeSet::new());
    world
        .until(&format!("{} is done", round.name), async || {
            let pods = pods(world, round).await?;
            ran.borrow_mut().extend(containers(&pods));
            let mut ended = 0;
            let mut ready = 0;
            for pod in &pods {
                let status = &pod["status"];
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                ensure!(status["phase"] != "Failed", "{name}: {status:#}");
                ended += usize::from(status["phase"] == "Succeeded");
                if name == round.named("probed") {
                    ready += usize::from(status["containerStatuses"][0]["ready"] == true);
                } else if name.starts_with("replica") && status["phase"] == "Running" {
                    let said = node::logs(&world.admin, &world.users, name).await?;
                    ready += usize::from(said.contains("done\n"));
                }
            }
            ensure!(
                ended == round.ending() && ready == 4,
                "{ended} ended, {ready} are ready"
            );
            Ok(Some(()))
        })
        .await?;
    Ok(ran.into_inner())
}

/// The containers that ran, by what their pods say now.
fn containers(pods: &[Value]) -> Vec<Ran> {
    let mut ran = Vec::new();
    for pod in pods {
        let kinds = ["initContainerStatuses", "containerStatuses"];
        let all = kinds
            .iter()
            .filter_map(|kind| pod["status"][kind].as_array());
        for status in all.flatten() {
            let ids = [
                &status["containerID"],
                &status["lastState"]["terminated"]["containerID"],
            ];
            for id in ids.into_iter().filter_map(Value::as_str) {
                ran.push(Ran {
                    pod: pod["metadata"]["name"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                    uid: pod["metadata"]["uid"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                    name: status["name"].as_str().unwrap_or_default().to_owned(),
                    id: id.trim_start_matches("containerd://").to_owned(),
                });
            }
        }
    }
    ran
}

/// Adds the runs that no status of their pod told: a kubelet that sees a run end after the next one has
/// begun removes it before it writes.
fn add_forgotten(ran: &mut BTreeSet<Ran>, seen: &Containers) {
    let crashed = ran.iter().find(|one| one.name == "crashes");
    let Some(Ran { pod, uid, name, .. }) = crashed else {
        return;
    };
    let runs = seen.of_pod(uid).skip(1).map(|id| Ran {
        pod: pod.clone(),
        uid: uid.clone(),
        name: name.clone(),
        id: id.to_owned(),
    });
    let runs: Vec<_> = runs.collect();
    ran.extend(runs);
}

/// What was seen of a container that is to be in its profile: not what a person did there.
fn joining(subjects: &[Subject]) -> impl Iterator<Item = &str> {
    let persons =
        |subject: &Subject| subject.calls.contains("link") || subject.calls.contains("linkat");
    let joining = subjects.iter().enumerate();
    let joining = joining.filter(move |(index, subject)| *index == 0 || !persons(subject));
    joining.flat_map(|(_, subject)| subject.calls.iter().map(String::as_str))
}

/// Whether a profile has what was seen of its pod's container, and what runtimes need.
fn same(profile: &Value, ran: &BTreeSet<Ran>, seen: &Containers) -> Result<()> {
    let name = profile["metadata"]["name"].as_str().unwrap_or_default();
    let pod = evidence(profile, "pod").as_str().unwrap_or_default();
    let container = &profile["metadata"]["labels"]["spo.x-k8s.io/container-id"];
    let own = ran
        .iter()
        .filter(|one| pod.ends_with(&format!("/{}", one.pod)) && *container == one.name);
    let own: Vec<_> = own.collect();
    ensure!(!own.is_empty(), "{name}: no container of {pod} ran");
    let mut observed = BTreeSet::from(BASE_SYSCALLS);
    for one in own {
        let subjects = seen.of(&one.id);
        ensure!(
            !subjects.is_empty(),
            "{name}: nothing was seen of {}",
            one.id
        );
        observed.extend(joining(subjects));
    }
    let recorded = calls(profile);
    let missing: Vec<_> = observed.difference(&recorded).collect();
    let extra: Vec<_> = recorded.difference(&observed).collect();
    ensure!(
        missing.is_empty() && extra.is_empty(),
        "{name}: missing {missing:?}, not observed {extra:?}"
    );
    Ok(())
}

/// How many different calls a recording counts: what runtimes need is not added there.
async fn counted(recording: &Recording<'_>, ran: &BTreeSet<Ran>, seen: &Containers) -> Result<()> {
    let is = |found: &Value| {
        let all = found["status"]["nodes"][0]["containers"].as_array();
        all.is_some_and(|all| {
            all.iter().all(|container| {
                let own = ran.iter().filter(|one| container["name"] == one.name);
                let observed: BTreeSet<_> = own.flat_map(|one| joining(seen.of(&one.id))).collect();
                container["syscalls"] == observed.len()
            })
        })
    };
    recording.becomes("counted as observed", is).await.map(drop)
}

async fn delete_all(
    world: &World,
    round: Round,
    api: &str,
    plural: &str,
    name: &str,
) -> Result<()> {
    let path = format!(
        "/apis/{api}/namespaces/{}/{plural}/{}",
        world.users,
        round.named(name)
    );
    world
        .delete(&format!("{path}?propagationPolicy=Background"))
        .await
}

async fn remove(world: &World, round: Round) -> Result<()> {
    delete_all(world, round, "apps/v1", "deployments", "replica").await?;
    delete_all(world, round, "batch/v1", "jobs", "short").await?;
    delete_all(world, round, "batch/v1beta1", "cronjobs", "timed").await?;
    let now = json!({ "gracePeriodSeconds": 0 });
    let path = format!(
        "/api/v1/namespaces/{}/pods?{}",
        world.users,
        round.selector()
    );
    send(&world.admin, Method::DELETE, &path, Some(&now)).await??;
    Ok(())
}
