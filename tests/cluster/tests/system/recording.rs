//! Recording what pods do, and running them under what was recorded.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use http::Request;
use serde_json::{Value, json};
use spo_cluster_tests::node::{exec, pod};
use spo_cluster_tests::objects::{create, get};

use crate::world::{PODS, PROFILES, SPOD, World, object};

/// A recorder: its name, its container, what switches it on, and what it logs when it begins and ends.
pub(crate) struct Recorder {
    pub(crate) name: &'static str,
    pub(crate) container: &'static str,
    switch: &'static str,
    begins: &'static str,
    ends: &'static str,
}

impl Recorder {
    /// Has it on the node, and lets the users' pods be recorded.
    pub(crate) async fn switch_on(&self, world: &World) -> Result<()> {
        let on = json!({ "spec": { "enricher": { self.switch: true } } });
        world.merge(SPOD, &on).await?;
        world.runs().await?;
        let enabled = json!({ "metadata": { "labels": { "spo.x-k8s.io/enable-recording": "" } } });
        let space = format!("/api/v1/namespaces/{}", world.users);
        world.merge(&space, &enabled).await.map(drop)
    }
}

pub(crate) const BPF: Recorder = Recorder {
    name: "Bpf",
    container: "bpf-recorder",
    switch: "enableBpfRecorder",
    begins: "the programs are attached",
    ends: "the programs are detached",
};
pub(crate) const LOGS: Recorder = Recorder {
    name: "Logs",
    container: "log-enricher",
    switch: "enableLogEnricher",
    begins: "audit records are read\"",
    ends: "audit records are read no more",
};

/// A recording of the pods with the label `app` of this value.
pub(crate) struct Recording<'w> {
    world: &'w World,
    recorder: &'static Recorder,
    name: String,
    label: String,
}

impl<'w> Recording<'w> {
    /// Switches the recorder of the kernel's programs on, and waits until it records.
    pub(crate) async fn begin(world: &'w World, name: &str, strategy: &str) -> Result<Self> {
        Self::begin_by(&BPF, world, name, name, strategy).await
    }

    /// Switches a recorder on, and waits until it records pods with this label.
    pub(crate) async fn begin_by(
        recorder: &'static Recorder,
        world: &'w World,
        name: &str,
        label: &str,
        strategy: &str,
    ) -> Result<Self> {
        recorder.switch_on(world).await?;
        let recording = Self {
            world,
            recorder,
            name: name.to_owned(),
            label: label.to_owned(),
        };
        // A test that failed left its own.
        let list = get(&world.admin, &recording.all()).await?;
        let list = list.context("not served")?;
        for old in list["items"].as_array().into_iter().flatten() {
            if old["spec"]["recorder"] == recorder.name {
                let old = old["metadata"]["name"].as_str().unwrap_or_default();
                let old = format!("{}/{old}", recording.all());
                world.delete(&old).await?;
                world.not_there(&old).await?;
            }
        }
        let before = world
            .until("the recorder has what it needs", async || {
                let said = said(world, recorder).await?;
                let times = said.matches(recorder.begins).count();
                Ok((times == said.matches(recorder.ends).count()).then_some(times))
            })
            .await?;
        let strategy = json!({ "mergeStrategy": strategy });
        recording.create(&strategy).await?;
        world
            .until("the recorder records", async || {
                let now = said(world, recorder).await?;
                let now = now.matches(recorder.begins).count();
                Ok((now > before).then_some(()))
            })
            .await?;
        Ok(recording)
    }

    /// Another one, of pods with its name as label, while the recorder records.
    pub(crate) async fn beside(&self, name: &str, strategy: &str) -> Result<Self> {
        self.with(name, name, &json!({ "mergeStrategy": strategy }))
            .await
    }

    /// Another one of the same pods, with more in its `spec`.
    pub(crate) async fn of_the_same(&self, name: &str, more: &Value) -> Result<Self> {
        self.with(name, &self.label, more).await
    }

    async fn with(&self, name: &str, label: &str, more: &Value) -> Result<Self> {
        let recording = Self {
            name: name.to_owned(),
            label: label.to_owned(),
            ..*self
        };
        recording.create(more).await?;
        Ok(recording)
    }

    async fn create(&self, more: &Value) -> Result<()> {
        let mut spec = json!({
            "kind": "SeccompProfile",
            "recorder": self.recorder.name,
            "podSelector": { "matchLabels": { "app": self.label } },
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let object = object("ProfileRecording", &self.name, &spec);
        create(&self.world.admin, &self.all(), &object).await??;
        Ok(())
    }

    fn all(&self) -> String {
        format!(
            "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/{}/profilerecordings",
            self.world.users
        )
    }

    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.all(), self.name)
    }

    /// A pod that it records.
    pub(crate) fn pod(&self, name: &str, script: &str) -> Value {
        let mut pod = pod(name, script);
        pod["metadata"]["labels"] = json!({ "app": self.label });
        pod
    }

    /// What was recorded under a name, once it is so.
    pub(crate) async fn profile(&self, rest: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let path = format!("{PROFILES}/{}-{rest}", self.name);
        let is = |found: &Value| !found.is_null() && is(found);
        self.world.becomes(&path, "recorded", is).await
    }

    /// Waits until it says something.
    pub(crate) async fn becomes(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        self.world.becomes(&self.path(), what, is).await
    }

    /// Deletes it, and waits until it is gone.
    pub(crate) async fn end(&self) -> Result<()> {
        self.world.delete(&self.path()).await?;
        self.world.not_there(&self.path()).await
    }
}

/// What the recorder logged.
async fn said(world: &World, recorder: &Recorder) -> Result<String> {
    let pods = get(&world.admin, PODS).await?.context("not served")?;
    let pods = pods["items"].as_array().context("no list")?;
    let name = pods.iter().find_map(|pod| {
        let name = pod["metadata"]["name"].as_str()?;
        let is_daemon = pod["metadata"]["labels"]["name"] == "spod";
        (is_daemon && pod["metadata"]["deletionTimestamp"].is_null()).then_some(name)
    });
    let name = name.context("no daemon")?;
    let path = format!("{PODS}/{name}/log?container={}", recorder.container);
    Ok(world
        .admin
        .request_text(Request::get(&path).body(Vec::new())?)
        .await?)
}

pub(crate) fn calls(profile: &Value) -> BTreeSet<&str> {
    let rules = profile["spec"]["syscalls"].as_array();
    let names = rules
        .into_iter()
        .flatten()
        .filter_map(|rule| rule["names"].as_array());
    names.flatten().filter_map(Value::as_str).collect()
}

pub(crate) fn evidence<'p>(profile: &'p Value, name: &str) -> &'p Value {
    &profile["metadata"]["annotations"][format!("spo.x-k8s.io/recording-{name}")]
}

/// What a profile says, but for a call that it allows.
pub(crate) fn without(profile: &Value, call: &str) -> Result<Value> {
    let mut less = profile["spec"].clone();
    let names = less["syscalls"][0]["names"].as_array_mut();
    let names = names.context("no names")?;
    let before = names.len();
    names.retain(|name| name != call);
    let name = &profile["metadata"]["name"];
    ensure!(names.len() + 1 == before, "{name} has no {call}");
    Ok(less)
}

/// Waits until an event of a recording says that nothing is recorded, and why.
pub(crate) async fn cannot_record(world: &World, recording: &str, why: &str) -> Result<()> {
    let events = format!("/apis/events.k8s.io/v1/namespaces/{}/events", world.users);
    let is_told = |list: &Value| {
        let all = list["items"].as_array().into_iter().flatten();
        let mut own = all.filter(|event| event["regarding"]["name"] == recording);
        own.any(|event| {
            let note = event["note"].as_str().unwrap_or_default();
            event["reason"] == "CannotRecord" && note.contains(why)
        })
    };
    world.becomes(&events, "told", is_told).await.map(drop)
}

pub(crate) fn ensure_whole(profile: &Value) -> Result<()> {
    ensure!(evidence(profile, "partial").is_null(), "{profile:#}");
    ensure!(evidence(profile, "lost") == "0", "{profile:#}");
    Ok(())
}

pub(crate) async fn replicas_become_one_and_a_recording_may_end_early(world: &World) -> Result<()> {
    let recording = Recording::begin(world, "replicas", "Containers").await?;
    let names = ["replica-a", "replica-b", "replica-c"];
    for name in names {
        let extra = if name == "replica-b" {
            "mkdir /tmp/extra; "
        } else {
            ""
        };
        let script = format!("cd /tmp; echo a > a; ln a b; {extra}sleep 1000");
        world.runs_pod(&recording.pod(name, &script)).await?;
    }
    // How far it is.
    let path = recording.path();
    let told = world.becomes(&path, "three run", |found| {
        let main = &found["status"]["nodes"][0]["containers"][0];
        main["replicas"] == 3
            && main["running"] == 3
            && main["agreeing"] == 1
            && found["status"]["activeWorkloads"] == json!(names)
    });
    let told = told.await?;
    let node = &told["status"]["nodes"][0];
    ensure!(node["containers"][0]["incomplete"].is_null(), "{told:#}");
    ensure!(node["pods"] == json!(names), "{told:#}");
    recording.end().await?;
    let merged = recording.profile("main", |_| true).await?;
    ensure_whole(&merged)?;
    let all = calls(&merged);
    ensure!(all.contains("mkdir"), "{all:?}");
    let coverage = &merged["metadata"]["annotations"]["spo.x-k8s.io/syscall-coverage"];
    let coverage: Value = serde_json::from_str(coverage.as_str().unwrap_or_default())?;
    ensure!(coverage["total"] == 3, "{coverage}");
    ensure!(coverage["syscalls"]["mkdir"] == 1, "{coverage}");
    world.delete_profile("replicas-main").await?;
    for name in names {
        world.end_pod(name).await?;
    }
    Ok(())
}

pub(crate) async fn commands_of_the_pod_join_and_those_of_people_are_listed(
    world: &World,
) -> Result<()> {
    let recording = Recording::begin(world, "entered", "None").await?;
    let mut probed = recording.pod("probed", "until [ -e /tmp/end ]; do sleep 1; done");
    let probe = ["sh", "-c", "cd /tmp; mkdir probe; rmdir probe"];
    probed["spec"]["containers"][0]["readinessProbe"] =
        json!({ "exec": { "command": probe }, "periodSeconds": 1 });
    world.runs_pod(&probed).await?;
    let path = format!("/api/v1/namespaces/{}/pods/probed", world.users);
    let is_ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    world.becomes(&path, "ready", is_ready).await?;
    let person = ["sh", "-c", "cd /tmp; echo a > a; ln a b; echo > end"];
    let output = exec(&world.users, "probed", &person)?;
    ensure!(output.status.success(), "{output:?}");
    // What was there when a probe had ended was written before.
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    let profile = recording.profile("main", is_last).await?;
    ensure_whole(&profile)?;
    let all = calls(&profile);
    ensure!(
        all.contains("mkdir"),
        "the probe's calls are missing: {all:?}"
    );
    ensure!(!all.contains("link") && !all.contains("linkat"), "{all:?}");
    let left_out = evidence(&profile, "left-out").as_str().unwrap_or_default();
    ensure!(left_out.contains("ln a b"), "listed is: {left_out}");
    recording.end().await?;
    world.delete_profile("entered-main").await?;
    world.end_pod("probed").await
}

/// Without the recorder, its container is gone, and no program is attached.
pub(crate) async fn switched_off_nothing_of_it_is_left(world: &World) -> Result<()> {
    let off = json!({ "spec": { "enricher": { "enableBpfRecorder": null } } });
    world.merge(SPOD, &off).await?;
    world.runs().await?;
    world
        .until("no recorder runs", async || {
            Ok(world
                .node
                .processes("bpf-recorder")?
                .is_empty()
                .then_some(()))
        })
        .await
}
