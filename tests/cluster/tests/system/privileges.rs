//! What our processes may do on a node, as the kernel tells of them while they run.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use http::Request;
use serde_json::{Value, json};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::{create, get, replace};

use crate::recording::{BPF, Recording, calls, cannot_record, ensure_whole, evidence};
use crate::world::{DEPLOYMENTS, PODS, SPOD, World, object};

const DAEMONS: &str = "/apis/apps/v1/namespaces/security-profiles-operator/daemonsets/spod";
/// Bits of capabilities (`include/uapi/linux/capability.h`).
const CAP_BPF: u64 = 1 << 39;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_SETUID: u64 = 1 << 7;
/// All that a recorder has.
const BOTH: u64 = CAP_BPF | CAP_PERFMON;

/// What a process runs as: its user, its group, and its capabilities.
type Privileges = (u32, u32, u64);

/// By what each process runs, and what it is to have.
const ALL: [(&str, Privileges); 5] = [
    ("operator", (65535, 65535, 0)),
    ("webhook", (65535, 65535, 0)),
    ("daemon", (65535, 65535, 0)),
    ("bpf-recorder", (0, 0, BOTH)),
    ("log-enricher", (0, 4, 0)),
];

pub(crate) async fn processes_have_what_is_named_and_nothing_more(world: &World) -> Result<()> {
    let both = json!({ "spec": { "enricher": { "enableLogEnricher": true } } });
    world.merge(SPOD, &both).await?;
    let recording = Recording::begin(world, "watched", "None").await?;
    world
        .runs_pod(&recording.pod("watched", "sleep 1000"))
        .await?;
    recording
        .becomes("told", |found| {
            found["status"]["nodes"][0]["containers"][0]["running"] == 1
        })
        .await?;
    for (verb, expected) in ALL {
        has(world, verb, expected)?;
    }
    world.end_pod("watched").await?;
    recording.end().await?;
    world.delete_profile("watched-main").await?;
    // It is to load programs again for the next recording.
    has(world, "bpf-recorder", (0, 0, BOTH))
}

/// Looks at every thread of every process of a verb, which sees no process but its own; what it reads of others,
/// it reads of a mounted folder.
fn has(world: &World, verb: &str, privileges: Privileges) -> Result<()> {
    runs_with(world, verb, privileges, privileges.2)?;
    for process in world.node.processes(verb)? {
        let own = fs::read_link(format!("/proc/{process}/ns/pid"))?;
        ensure!(
            own != fs::read_link("/proc/self/ns/pid")?,
            "{verb}: {}",
            own.display()
        );
    }
    Ok(())
}

/// The verifier has what the recorder has, and is not root. What it needed to become another user it does not
/// have any more, and cannot get again without new privileges. It is in the host's pid namespace.
pub(crate) fn the_verifier_is_not_root(world: &World) -> Result<()> {
    let privileges = (65535, 65535, BOTH);
    runs_with(world, "verifier", privileges, BOTH | CAP_SETUID)
}

fn runs_with(
    world: &World,
    verb: &str,
    (user, group, capabilities): Privileges,
    bounding: u64,
) -> Result<()> {
    let processes = world.node.processes(verb)?;
    ensure!(!processes.is_empty(), "no {verb} runs");
    for process in processes {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            // One that had nothing to do may have ended.
            let Ok(status) = fs::read_to_string(thread?.path().join("status")) else {
                continue;
            };
            let fields: BTreeMap<_, _> = status
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name, value.split_whitespace().collect::<Vec<_>>()))
                .collect();
            let of = |name: &str| fields.get(name).cloned().unwrap_or_default();
            let (user, group) = (user.to_string(), group.to_string());
            let held = format!("{capabilities:016x}");
            let bounding = format!("{bounding:016x}");
            let none = format!("{:016x}", 0);
            for (field, expected) in [
                ("Uid", [user.as_str(); 4].as_slice()),
                ("Gid", &[group.as_str(); 4]),
                ("CapInh", &[&none]),
                ("CapPrm", &[&held]),
                ("CapEff", &[&held]),
                ("CapBnd", &[&bounding]),
                ("CapAmb", &[&none]),
                ("NoNewPrivs", &["1"]),
                ("Seccomp", &["2"]),
            ] {
                ensure!(
                    of(field) == expected,
                    "{verb}: {field} is {:?}, not {expected:?}",
                    of(field)
                );
            }
        }
    }
    Ok(())
}

/// The operator would put back what is taken away: it is not there meanwhile.
pub(crate) async fn a_recorder_that_lacks_a_capability_says_so_and_runs_on(
    world: &World,
) -> Result<()> {
    let open = json!({ "spec": { "enableInsecureMetricsAccess": true } });
    world.merge(SPOD, &open).await?;
    // Also switches the recorder on.
    Recording::begin(world, "before", "None")
        .await?
        .end()
        .await?;
    let operator = format!("{DEPLOYMENTS}/security-profiles-operator");
    let replicas = |count: u32| json!({ "spec": { "replicas": count } });
    world.merge(&operator, &replicas(0)).await?;
    world
        .until("no operator runs", async || {
            Ok(world.node.processes("operator")?.is_empty().then_some(()))
        })
        .await?;
    let recordings = format!(
        "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/{}/profilerecordings",
        world.users
    );
    let spec = json!({
        "kind": "SeccompProfile",
        "recorder": "Bpf",
        "podSelector": { "matchLabels": { "app": "lacking" } },
    });
    for (kept, left, lacking) in [
        ("BPF", CAP_BPF, "CAP_PERFMON"),
        ("PERFMON", CAP_PERFMON, "CAP_BPF"),
    ] {
        let name = format!("lacking-{}", kept.to_lowercase());
        let recording = object("ProfileRecording", &name, &spec);
        create(&world.admin, &recordings, &recording).await??;
        give(world, kept).await?;
        let pod = world
            .until(&format!("a recorder without {lacking}"), async || {
                let pod = daemon(world).await?;
                let is = has(world, "bpf-recorder", (0, 0, left)).is_ok();
                Ok(is.then_some(pod))
            })
            .await?;
        cannot_record(world, &name, lacking).await?;
        // It goes on trying, and all else goes on.
        let tries = world.until("it tries again", async || {
            let log = text(world, &format!("{PODS}/{pod}/log?container=bpf-recorder")).await?;
            Ok((log.matches("cannot attach the programs").count() > 2).then_some(()))
        });
        tries.await?;
        let metrics = text(world, &format!("{PODS}/{pod}:9444/proxy/metrics-spod")).await?;
        let attached = metrics
            .lines()
            .find(|line| line.starts_with("security_profiles_operator_recorder_attached"));
        ensure!(
            attached.is_some_and(|line| line.ends_with(" 0")),
            "{metrics}"
        );
        let all_run = |found: &Value| {
            let statuses = found["status"]["containerStatuses"].as_array();
            statuses.is_some_and(|all| all.iter().all(|status| status["ready"] == true))
        };
        let path = format!("{PODS}/{pod}");
        let found = world.becomes(&path, "ready", all_run).await?;
        for status in found["status"]["containerStatuses"]
            .as_array()
            .context("no status")?
        {
            ensure!(status["restartCount"] == 0, "{status:#}");
        }
        world.delete(&format!("{recordings}/{name}")).await?;
    }
    world.merge(&operator, &replicas(1)).await?;
    let closed = json!({ "spec": { "enableInsecureMetricsAccess": null } });
    world.merge(SPOD, &closed).await?;
    // Given back, it records.
    world
        .until("a recorder with both", async || {
            Ok(has(world, "bpf-recorder", (0, 0, BOTH))
                .is_ok()
                .then_some(()))
        })
        .await?;
    world.webhook_answers().await?;
    let recording = Recording::begin(world, "given-back", "None").await?;
    let pod = recording.pod("given-back", "cd /tmp; sync");
    node::run(&world.admin, &world.users, &pod).await?;
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    let profile = recording.profile("main", is_last).await?;
    ensure_whole(&profile)?;
    ensure!(calls(&profile).contains("sync"), "{profile:#}");
    recording.end().await?;
    world.delete_profile("given-back-main").await?;
    world.end_pod("given-back").await
}

/// Gives the recorders of the daemons one capability alone.
async fn give(world: &World, capability: &str) -> Result<()> {
    world
        .until("the daemons are changed", async || {
            let mut daemons = get(&world.admin, DAEMONS).await?.context("no daemons")?;
            let containers = daemons["spec"]["template"]["spec"]["containers"].as_array_mut();
            let mut containers = containers.into_iter().flatten();
            let recorder = containers.find(|one| one["name"] == BPF.container);
            let recorder = recorder.context("no recorder")?;
            recorder["securityContext"]["capabilities"]["add"] = json!([capability]);
            replace(&world.admin, DAEMONS, &daemons).await??;
            Ok(Some(()))
        })
        .await
}

/// The pod of the daemon.
pub(crate) async fn daemon(world: &World) -> Result<String> {
    let pods = get(&world.admin, &format!("{PODS}?labelSelector=name%3Dspod")).await?;
    let pods = pods.context("not served")?;
    let [pod] = &pods["items"].as_array().context("no list")?[..] else {
        anyhow::bail!("there is not one pod")
    };
    let name = pod["metadata"]["name"].as_str();
    Ok(name.context("no name")?.to_owned())
}

pub(crate) async fn text(world: &World, path: &str) -> Result<String> {
    let request = Request::get(path).body(Vec::new())?;
    Ok(world.admin.request_text(request).await?)
}
