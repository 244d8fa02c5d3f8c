//! The workloads that are recorded, and then bound by what was recorded of them.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};
use spo_cluster_tests::node::pod;
use spo_cluster_tests::objects::create;

use crate::world::{World, localhost};

/// Recorded one by one.
pub(super) const ALONE: &str = "alone";
/// Recorded and merged.
pub(super) const TOGETHER: &str = "together";
/// The label of all pods of a round.
pub(super) const ROUND: &str = "round";

/// The containers, and by which recording.
pub(super) const CONTAINERS: [(&str, &str); 9] = [
    (ALONE, "plain"),
    (ALONE, "prepares"),
    (ALONE, "serves"),
    (ALONE, "helps"),
    (ALONE, "crashes"),
    (ALONE, "probed"),
    (TOGETHER, "replica"),
    (TOGETHER, "short"),
    (TOGETHER, "timed"),
];
/// Pods that begin at once are recorded together as well.
pub(super) const MANY: (&str, &str) = (TOGETHER, "many");

/// What each of them calls after it began, and can do without.
pub(super) const DISPENSABLE: &str = "mkdir";
const WORK: &str = "cd /tmp; mkdir d; rmdir d; true";

/// Which time the workloads run.
#[derive(Clone, Copy)]
pub(super) struct Round {
    /// What it is called.
    pub(super) name: &'static str,
    /// What follows the names of the profiles that bind them; nothing while they are recorded.
    pub(super) bound: Option<&'static str>,
    /// The pods of the Job, and those that begin at once.
    pub(super) short: usize,
    pub(super) many: usize,
}

impl Round {
    pub(super) fn pods(self) -> usize {
        // Those that are made one by one, and of the Deployment and the CronJob.
        4 + 3 + 1 + self.short + self.many
    }

    /// The pods that run to an end.
    pub(super) fn ending(self) -> usize {
        self.pods() - 4
    }

    pub(super) fn selector(self) -> String {
        format!("labelSelector={ROUND}%3D{}", self.name)
    }

    pub(super) fn named(self, name: &str) -> String {
        format!("{name}-{}", self.name)
    }

    fn labels(self, recording: &str) -> Value {
        match self.bound {
            None => json!({ ROUND: self.name, "app": recording }),
            Some(_) => json!({ ROUND: self.name }),
        }
    }

    fn container(self, (recording, name): (&str, &str), script: &str) -> Value {
        let mut container = pod(name, script)["spec"]["containers"][0].take();
        container["name"] = json!(name);
        if let Some(suffix) = self.bound {
            let profile = localhost(&format!("{recording}-{name}{suffix}"));
            container["securityContext"] = json!({ "seccompProfile": profile });
        }
        container
    }

    fn template(self, own: (&str, &str), script: &str) -> Value {
        let mut pod = pod(own.1, script);
        pod["metadata"] = json!({ "labels": self.labels(own.0) });
        pod["spec"]["containers"][0] = self.container(own, script);
        pod
    }

    fn pod(self, own: (&str, &str), script: &str) -> Value {
        let mut pod = self.template(own, script);
        pod["metadata"]["name"] = json!(self.named(own.1));
        pod
    }

    /// Makes all of them.
    pub(super) async fn create(self, world: &World) -> Result<()> {
        let space = format!("namespaces/{}", world.users);
        let pods = format!("/api/v1/{space}/pods");
        let mut all = vec![
            (pods.clone(), self.pod((ALONE, "plain"), WORK)),
            (pods.clone(), self.several()),
            (pods.clone(), self.crashes()),
            (pods.clone(), self.probed()),
            (
                format!("/apis/apps/v1/{space}/deployments"),
                self.replicas(world),
            ),
            (format!("/apis/batch/v1/{space}/jobs"), self.short_ones()),
        ];
        all.extend((0..self.many).map(|index| (pods.clone(), self.one_of_many(index))));
        for (path, object) in all {
            create(&world.admin, &path, &object).await??;
        }
        self.timed(world).await
    }

    fn several(self) -> Value {
        let mut several = self.pod((ALONE, "serves"), "cd /tmp; mkdir d; sync");
        let init = format!("{WORK}; echo a > a; ln a b");
        several["spec"]["initContainers"] = json!([self.container((ALONE, "prepares"), &init)]);
        let helps = self.container((ALONE, "helps"), "cd /tmp; mkdir d; ln -s a b");
        let containers = several["spec"]["containers"].as_array_mut();
        containers.expect("a pod has containers").push(helps);
        several
    }

    /// The second run does something else than the first.
    fn crashes(self) -> Value {
        let script =
            "cd /data; mkdir d; if [ -e a ]; then mv a e; else echo a > a; ln a b; exit 1; fi";
        let mut crashes = self.pod((ALONE, "crashes"), script);
        crashes["spec"]["restartPolicy"] = json!("OnFailure");
        crashes["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
        crashes["spec"]["containers"][0]["volumeMounts"] =
            json!([{ "name": "data", "mountPath": "/data" }]);
        crashes
    }

    fn probed(self) -> Value {
        let mut probed = self.pod(
            (ALONE, "probed"),
            &format!("{WORK}; until [ -e end ]; do sleep 1; done"),
        );
        let container = &mut probed["spec"]["containers"][0];
        let command = |script: &str| json!({ "exec": { "command": ["sh", "-c", script] } });
        container["readinessProbe"] = command("cd /tmp; mkdir p; rmdir p; true");
        container["readinessProbe"]["periodSeconds"] = json!(1);
        container["lifecycle"] = json!({ "postStart": command("cd /tmp; sync") });
        probed
    }

    /// Three, of which one does more.
    fn replicas(self, world: &World) -> Value {
        let script = "cd /tmp; mkdir d; mkdir /shared/first && sync; echo done; sleep 1000";
        let mut template = self.template((TOGETHER, "replica"), script);
        let folder = format!("/run/{}-{}", world.users, self.name);
        let spec = &mut template["spec"];
        spec["restartPolicy"] = json!("Always");
        spec["volumes"] = json!([{
            "name": "shared", "hostPath": { "path": folder, "type": "DirectoryOrCreate" },
        }]);
        spec["containers"][0]["volumeMounts"] =
            json!([{ "name": "shared", "mountPath": "/shared" }]);
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": self.named("replica") },
            "spec": {
                "replicas": 3,
                "selector": { "matchLabels": { ROUND: self.name } },
                "template": template,
            },
        })
    }

    /// Pods that live some milliseconds.
    fn short_ones(self) -> Value {
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": self.named("short") },
            "spec": {
                "completions": self.short,
                "parallelism": 10,
                "template": self.template((TOGETHER, "short"), "cd /tmp; mkdir d; echo a > a; ln a b"),
            },
        })
    }

    /// Each of them does something else.
    fn one_of_many(self, index: usize) -> Value {
        let more = ["ln a b", "ln -s a c", "truncate -s 1 a", "mv a e", "sync"];
        let more = more.iter().enumerate();
        let more = more.filter(|(bit, _)| index >> bit & 1 == 1);
        let more: Vec<_> = more.map(|(_, one)| *one).collect();
        let script = format!("cd /tmp; mkdir d; echo a > a; {}; true", more.join("; "));
        let mut one = self.pod(MANY, script.replace("; ;", ";").as_str());
        one["metadata"]["name"] = json!(self.named(&format!("many-{index}")));
        one
    }

    /// Due once a year: it is made one that has not run for a year.
    async fn timed(self, world: &World) -> Result<()> {
        let all = format!("/apis/batch/v1beta1/namespaces/{}/cronjobs", world.users);
        let job = json!({
            "apiVersion": "batch/v1beta1",
            "kind": "CronJob",
            "metadata": { "name": self.named("timed") },
            "spec": {
                "schedule": "0 0 1 1 *",
                "suspend": true,
                "jobTemplate": {
                    "spec": { "template": self.template((TOGETHER, "timed"), "cd /tmp; mkdir d; ln -s a b") },
                },
            },
        });
        create(&world.admin, &all, &job).await??;
        let path = format!("{all}/{}", self.named("timed"));
        let last = SystemTime::now() - Duration::from_hours(366 * 24);
        let last =
            json!({ "status": { "lastScheduleTime": Timestamp::try_from(last)?.to_string() } });
        world.merge(&format!("{path}/status"), &last).await?;
        world
            .merge(&path, &json!({ "spec": { "suspend": false } }))
            .await?;
        Ok(())
    }
}
