//! What the operator does with recordings and what nodes recorded of them, with the rights of its
//! role and no others.

mod late;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use spo::cluster::events::Events;
use spo::controller::recording;
use spo::telemetry::metrics::Metrics;
use spo_cluster_tests::access::{
    BINDINGS, ROLES, admin, allow, namespace, remove_namespace, service_account,
};
use spo_cluster_tests::crd;
use spo_cluster_tests::files::{documents, folder};
use spo_cluster_tests::objects::{create, get, replace, send};
use spo_cluster_tests::waiting::becomes;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);
const PROFILES: &str = "/apis/security-profiles-operator.x-k8s.io/v1/seccompprofiles";
const UNMERGED: &str = "spo.x-k8s.io/has-unmerged-profiles";
/// As in `deploy/`, so that `rights` knows whose requests these are.
const ACCOUNT: &str = "security-profiles-operator";
const LOCK: &str = "active-seccomp-profile-recording-lock";

/// Definitions are of the whole cluster.
static TURN: Mutex<()> = Mutex::const_new(());

/// A namespace whose name is that of its recording, and the controller.
struct World {
    admin: Client,
    name: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl World {
    async fn new() -> Result<Self> {
        let admin = admin().await?;
        {
            let _turn = TURN.lock().await;
            for file in folder("deploy/crds")? {
                crd::apply(&admin, &file.object).await?;
            }
        }
        let name = namespace(&admin).await?;
        let client = service_account(&admin, &name, ACCOUNT).await?;
        let all = documents("deploy/base/operator-role.yaml")?;
        let role = all.into_iter().next().context("no role")?;
        allow(&admin, (&name, ACCOUNT), &name, &role["rules"]).await?;
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new("")?);
        let context = recording::Context {
            events: Events::new(client.clone(), "test", metrics.events_over_budget()),
            client,
            metrics,
        };
        let task = tokio::spawn(recording::run(Arc::new(context), stop.clone()));
        let world = Self {
            admin,
            name,
            stop,
            task,
        };
        let spec = json!({
            "kind": "SeccompProfile",
            "recorder": "Bpf",
            "mergeStrategy": "Containers",
            "podSelector": {},
        });
        let object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": "ProfileRecording",
            "metadata": { "name": world.name },
            "spec": spec,
        });
        create(&world.admin, &world.recordings(), &object).await??;
        Ok(world)
    }

    fn recordings(&self) -> String {
        format!(
            "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/{}/profilerecordings",
            self.name
        )
    }

    fn recording(&self) -> String {
        format!("{}/{}", self.recordings(), self.name)
    }

    fn profile(&self, rest: &str) -> String {
        format!("{PROFILES}/{}-{rest}", self.name)
    }

    /// Writes what a node would.
    async fn record(&self, suffix: &str, calls: &[&str]) -> Result<()> {
        let object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": "SeccompProfile",
            "metadata": {
                "name": format!("{}-app-{suffix}", self.name),
                "labels": {
                    "spo.x-k8s.io/partial": "true",
                    "spo.x-k8s.io/recording-id": self.name,
                    "spo.x-k8s.io/recording-namespace": self.name,
                    "spo.x-k8s.io/container-id": "app",
                },
                "annotations": { "spo.x-k8s.io/recording-lost": "1" },
            },
            "spec": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "action": "SCMP_ACT_ALLOW", "names": calls }],
            },
        });
        create(&self.admin, PROFILES, &object).await??;
        Ok(())
    }

    /// Waits until something is as it should be. What is not there is null.
    async fn until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        becomes(&self.admin, path, PATIENCE, "so", is).await
    }

    /// Says as a node which pods it records.
    async fn tell(&self, node: &str, pods: &[&str]) -> Result<()> {
        let mut object = get(&self.admin, &self.recording())
            .await?
            .context("no recording")?;
        object["status"]["nodes"] = json!([{ "name": node, "pods": pods, "dropped": 0 }]);
        replace(
            &self.admin,
            &format!("{}/status", self.recording()),
            &object,
        )
        .await??;
        Ok(())
    }

    /// Gives the recording a rule for its end.
    async fn finish(&self, rule: Value) -> Result<()> {
        let mut object = get(&self.admin, &self.recording())
            .await?
            .context("no recording")?;
        object["spec"]["finish"] = rule;
        replace(&self.admin, &self.recording(), &object).await??;
        Ok(())
    }

    /// Makes a Job of which no pod runs; how it ends is for the test to say.
    async fn job(&self, name: &str) -> Result<()> {
        let job = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": name },
            "spec": {
                "parallelism": 0,
                "template": { "spec": {
                    "restartPolicy": "Never",
                    "containers": [{ "name": "app", "image": "app" }],
                } },
            },
        });
        create(&self.admin, &self.jobs(), &job).await??;
        Ok(())
    }

    fn jobs(&self) -> String {
        format!("/apis/batch/v1/namespaces/{}/jobs", self.name)
    }

    async fn end_job(&self, name: &str, condition: &str) -> Result<()> {
        let path = format!("{}/{name}", self.jobs());
        // Whoever else writes it may be faster.
        let start = Instant::now();
        loop {
            let mut job = get(&self.admin, &path).await?.context("no job")?;
            let now = jiff::Timestamp::now().to_string();
            job["status"]["conditions"] =
                json!([{ "type": condition, "status": "True", "lastTransitionTime": now }]);
            let replaced = replace(&self.admin, &format!("{path}/status"), &job).await?;
            if replaced.is_ok() || start.elapsed() > PATIENCE {
                replaced?;
                return Ok(());
            }
        }
    }

    async fn remove(self) -> Result<()> {
        self.stop.cancel();
        let profiles = ["app", "app-proposal"].map(|rest| self.profile(rest));
        self.task.await?;
        for collection in [ROLES, BINDINGS] {
            let path = format!("{collection}/{}", self.name);
            send(&self.admin, Method::DELETE, &path, None).await??;
        }
        for profile in profiles {
            drop(send(&self.admin, Method::DELETE, &profile, None).await?);
        }
        remove_namespace(&self.admin, &self.name).await
    }
}

fn names(profile: &Value) -> Vec<&str> {
    let rules = profile["spec"]["syscalls"].as_array();
    let names = rules
        .into_iter()
        .flatten()
        .filter_map(|rule| rule["names"].as_array());
    names.flatten().filter_map(Value::as_str).collect()
}

fn coverage(profile: &Value) -> Value {
    let text = profile["metadata"]["annotations"]["spo.x-k8s.io/syscall-coverage"].as_str();
    serde_json::from_str(text.unwrap_or("null")).unwrap_or_default()
}

fn has(recording: &Value, finalizer: &str) -> bool {
    let finalizers = recording["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|names| names.iter().any(|name| name == finalizer))
}

#[tokio::test]
async fn replicas_are_merged_while_they_run() -> Result<()> {
    let world = World::new().await?;
    world.record("a", &["read", "write"]).await?;
    world.record("b", &["mknod", "read"]).await?;
    let app = world.profile("app");
    let merged = world
        .until(&app, |found| coverage(found)["total"] == 2)
        .await?;
    ensure!(names(&merged) == ["mknod", "read", "write"], "{merged}");
    ensure!(coverage(&merged)["syscalls"] == json!({ "mknod": 1, "read": 2, "write": 1 }));
    let metadata = &merged["metadata"];
    ensure!(
        metadata["annotations"]["spo.x-k8s.io/recording-lost"] == "2",
        "{merged}"
    );
    ensure!(
        metadata["labels"]["spo.x-k8s.io/partial"].is_null(),
        "{merged}"
    );
    world
        .until(&world.recording(), |found| has(found, UNMERGED))
        .await?;
    world.record("c", &["read"]).await?;
    world
        .until(&app, |found| coverage(found)["total"] == 3)
        .await?;

    // Pods that a node records hold the recording, until the node has handed in what it has.
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": world.name } });
    create(&world.admin, "/api/v1/nodes", &node).await??;
    world.tell(&world.name, &["pod-1"]).await?;
    let held =
        |found: &Value| has(found, LOCK) && found["status"]["activeWorkloads"] == json!(["pod-1"]);
    world.until(&world.recording(), held).await?;
    send(&world.admin, Method::DELETE, &world.recording(), None).await??;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let waiting = get(&world.admin, &world.recording())
        .await?
        .context("it is gone")?;
    ensure!(has(&waiting, LOCK) && has(&waiting, UNMERGED), "{waiting}");
    world.record("late", &["getpid"]).await?;
    world.tell(&world.name, &[]).await?;
    world.until(&world.recording(), Value::is_null).await?;
    for suffix in ["app-a", "app-b", "app-c", "app-late"] {
        world.until(&world.profile(suffix), Value::is_null).await?;
    }
    let merged = get(&world.admin, &app).await?.context("no profile")?;
    ensure!(
        names(&merged) == ["getpid", "mknod", "read", "write"],
        "{merged}"
    );
    let path = format!("/api/v1/nodes/{}", world.name);
    send(&world.admin, Method::DELETE, &path, None).await??;
    world.remove().await
}

#[tokio::test]
async fn what_a_person_changed_is_not_overwritten() -> Result<()> {
    let world = World::new().await?;
    world.record("a", &["read"]).await?;
    let app = world.profile("app");
    let mut merged = world
        .until(&app, |found| coverage(found)["total"] == 1)
        .await?;
    merged["spec"]["syscalls"][0]["names"] = json!(["ptrace", "read"]);
    replace(&world.admin, &app, &merged).await??;
    world.record("b", &["write"]).await?;
    let proposal = world.profile("app-proposal");
    let proposed = world
        .until(&proposal, |found| coverage(found)["total"] == 2)
        .await?;
    ensure!(names(&proposed) == ["read", "write"], "{proposed}");
    let kept = get(&world.admin, &app).await?.context("it is gone")?;
    ensure!(names(&kept) == ["ptrace", "read"], "{kept}");
    let events = format!("/apis/events.k8s.io/v1/namespaces/{}/events", world.name);
    let told = |found: &Value| {
        let events = found["items"].as_array();
        events.into_iter().flatten().any(|event| {
            let note = event["note"].as_str().unwrap_or_default();
            event["reason"] == "ProfileProposed" && note.contains("ptrace")
        })
    };
    world.until(&events, told).await?;
    // Of a node that is gone, nothing more comes.
    world.tell("no-such-node", &["pod"]).await?;
    world
        .until(&world.recording(), |found| has(found, LOCK))
        .await?;
    send(&world.admin, Method::DELETE, &world.recording(), None).await??;
    world.until(&world.recording(), Value::is_null).await?;
    world.until(&world.profile("app-a"), Value::is_null).await?;
    world.remove().await
}

/// What a recording says of its end by a rule.
fn finished(recording: &Value) -> &Value {
    &recording["status"]["conditions"][0]
}

#[tokio::test]
async fn a_recording_ends_with_a_job_and_says_so_when_nodes_have_handed_in() -> Result<()> {
    let world = World::new().await?;
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": world.name } });
    create(&world.admin, "/api/v1/nodes", &node).await??;
    world
        .finish(json!({ "after": "1h", "quiet": "1h", "job": "e2e" }))
        .await?;
    world.record("a", &["read"]).await?;
    let path = world.recording();
    let say = async |pods: &[&str], finished: bool| {
        let mut object = get(&world.admin, &path).await?.context("no recording")?;
        let app = json!({ "name": "app", "replicas": 1, "lastNewTime": jiff::Timestamp::now().to_string() });
        object["status"]["nodes"] = json!([
            { "name": world.name, "pods": pods, "containers": [app], "finished": finished },
        ]);
        replace(&world.admin, &format!("{path}/status"), &object).await??;
        Ok::<_, anyhow::Error>(())
    };
    say(&["pod"], false).await?;
    let started = |found: &Value| found["status"]["startTime"].is_string() && has(found, LOCK);
    let found = world.until(&path, started).await?;
    ensure!(finished(&found).is_null(), "{found}");

    // One that is gone before it was looked at counts as well.
    world.job("e2e").await?;
    world.end_job("e2e", "Failed").await?;
    let job = format!("{}/e2e", world.jobs());
    send(&world.admin, Method::DELETE, &job, None).await??;
    let ends = |found: &Value| !finished(found).is_null();
    let found = world.until(&path, ends).await?;
    ensure!(finished(&found)["reason"] == "JobFailed", "{found}");
    ensure!(finished(&found)["status"] == "False", "{found}");
    let failed = "the Job that was to exercise it failed";
    let says = |found: &Value| {
        found["metadata"]["annotations"]["spo.x-k8s.io/recording-partial"] == failed
    };
    world.until(&world.profile("app"), says).await?;
    // The node has more, and hands it in.
    world.record("b", &["write"]).await?;
    say(&[], true).await?;
    let is_over = |found: &Value| finished(found)["status"] == "True";
    let found = world.until(&path, is_over).await?;
    ensure!(!has(&found, LOCK), "{found}");
    ensure!(
        finished(&found)["message"] == "the Job e2e failed",
        "{found}"
    );
    let merged = get(&world.admin, &world.profile("app")).await?;
    let merged = merged.context("no profile")?;
    ensure!(names(&merged) == ["read", "write"], "{merged}");
    let events = format!("/apis/events.k8s.io/v1/namespaces/{}/events", world.name);
    let told = |found: &Value| {
        let events = found["items"].as_array();
        let mut events = events.into_iter().flatten();
        events.any(|event| event["reason"] == "RecordingFinished" && event["type"] == "Warning")
    };
    world.until(&events, told).await?;

    // Without its rule, it stays finished.
    world.finish(Value::Null).await?;
    world.record("c", &["mknod"]).await?;
    let merged = |found: &Value| coverage(found)["total"] == 3;
    world.until(&world.profile("app"), merged).await?;
    let found = get(&world.admin, &path).await?.context("it is gone")?;
    ensure!(is_over(&found), "{found}");
    send(&world.admin, Method::DELETE, &path, None).await??;
    world.until(&path, Value::is_null).await?;
    let path = format!("/api/v1/nodes/{}", world.name);
    send(&world.admin, Method::DELETE, &path, None).await??;
    world.remove().await
}

#[tokio::test]
async fn a_recording_ends_when_its_time_is_over_or_nothing_new_comes() -> Result<()> {
    for (rule, reason) in [
        (json!({ "after": "1s" }), "TimeOver"),
        (json!({ "after": "1h", "quiet": "1s" }), "Quiet"),
    ] {
        let world = World::new().await?;
        world.finish(rule).await?;
        // A node that is gone by then hands in nothing.
        let mut object = get(&world.admin, &world.recording())
            .await?
            .context("no recording")?;
        let last = jiff::Timestamp::now().to_string();
        let app = json!({ "name": "app", "replicas": 1, "lastNewTime": last });
        object["status"]["nodes"] = json!([{ "name": "no-such-node", "containers": [app] }]);
        let path = format!("{}/status", world.recording());
        replace(&world.admin, &path, &object).await??;
        let is_over = |found: &Value| {
            finished(found)["status"] == "True" && finished(found)["reason"] == reason
        };
        let found = world.until(&world.recording(), is_over).await?;
        let message = finished(&found)["message"].as_str().unwrap_or_default();
        ensure!(
            message.contains("1s") && !message.contains("handed"),
            "{message}"
        );
        send(&world.admin, Method::DELETE, &world.recording(), None).await??;
        world.until(&world.recording(), Value::is_null).await?;
        world.remove().await?;
    }
    Ok(())
}
