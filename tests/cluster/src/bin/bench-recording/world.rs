//! Everything that `deploy/` installs, in pods of a real node.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use spo_cluster_tests::access::{admin, namespace};
use spo_cluster_tests::manifests::{apply, kustomized};
use spo_cluster_tests::meter::Audit;
use spo_cluster_tests::node::{self, Node, about};
use spo_cluster_tests::objects::{create, get, send};
use spo_cluster_tests::waiting;

const SPOD: &str = "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/security-profiles-operator/securityprofilesoperatordaemons/spod";
const PODS: &str = "/api/v1/namespaces/security-profiles-operator/pods";
/// Loaded into the node by `cargo xtask bench recording`.
const IMAGE: &str = "localhost/spo:test";
/// Whose requests are those of the recorder.
const ACCOUNTS: &[&str] = &["spod"];
const PATIENCE: Duration = Duration::from_mins(3);

pub(crate) struct World {
    pub(crate) admin: Client,
    pub(crate) node: Node,
    pub(crate) audit: Audit,
    /// For the pods that are measured.
    pub(crate) users: String,
}

impl World {
    pub(crate) async fn install() -> Result<Self> {
        let about = about()?.context("this cluster says nothing about itself")?;
        let node = about.node.context("it has no node")?;
        let admin = admin().await?;
        let users = namespace(&admin).await?;
        let world = Self {
            admin,
            node,
            audit: Audit::at(&about.audit_log, ACCOUNTS),
            users,
        };
        let mut objects = kustomized()?.context("no kubectl")?;
        for ((kind, _, _), object) in &mut objects {
            if kind == "Deployment" {
                object["spec"]["replicas"] = json!(1);
                let container = &mut object["spec"]["template"]["spec"]["containers"][0];
                container["image"] = json!(IMAGE);
                container["imagePullPolicy"] = json!("Never");
            }
        }
        apply(&world.admin, &objects).await?;
        world.until("it runs", async || world.runs().await).await?;
        let on = json!({ "spec": { "enricher": { "enableBpfRecorder": true } } });
        world.merge(SPOD, &on).await?;
        world.until("it runs", async || world.runs().await).await?;
        let label = json!({ "metadata": { "labels": { "spo.x-k8s.io/enable-recording": "" } } });
        world
            .merge(&format!("/api/v1/namespaces/{}", world.users), &label)
            .await?;
        Ok(world)
    }

    async fn runs(&self) -> Result<Option<()>> {
        let spod = get(&self.admin, SPOD).await?.unwrap_or_default();
        let is_current =
            spod["status"]["conditions"][0]["observedGeneration"] == spod["metadata"]["generation"];
        Ok((spod["status"]["state"] == "Running" && is_current).then_some(()))
    }

    async fn merge(&self, path: &str, change: &Value) -> Result<()> {
        let request = Request::patch(path)
            .header("Content-Type", "application/merge-patch+json")
            .body(change.to_string().into_bytes())?;
        self.admin.request::<Value>(request).await?;
        Ok(())
    }

    /// The recorder's process.
    pub(crate) fn recorder(&self) -> Result<u32> {
        let [process] = self.node.processes("bpf-recorder")?[..] else {
            bail!("there is not one recorder");
        };
        Ok(u32::try_from(process)?)
    }

    /// Records the pods with the label `app` of this value, from when this returns on.
    pub(crate) async fn record(&self, app: &str) -> Result<Recording<'_>> {
        let before = self.attachments().await?;
        let object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": "ProfileRecording",
            "metadata": { "name": "bench" },
            "spec": {
                "kind": "SeccompProfile",
                "recorder": "Bpf",
                "mergeStrategy": "None",
                "podSelector": { "matchLabels": { "app": app } },
            },
        });
        let recordings = format!(
            "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/{}/profilerecordings",
            self.users
        );
        create(&self.admin, &recordings, &object).await??;
        self.until("the programs are attached", async || {
            Ok((self.attachments().await? > before).then_some(()))
        })
        .await?;
        Ok(Recording {
            world: self,
            path: format!("{recordings}/bench"),
        })
    }

    /// How often the programs were attached.
    async fn attachments(&self) -> Result<usize> {
        let pods = get(&self.admin, &format!("{PODS}?labelSelector=name%3Dspod")).await?;
        let pods = pods.context("not served")?;
        let name = pods["items"][0]["metadata"]["name"].as_str();
        let name = name.context("there is no daemon")?;
        let path = format!("{PODS}/{name}/log?container=bpf-recorder");
        let request = Request::get(&path).body(Vec::new())?;
        let said = self.admin.request_text(request).await?;
        Ok(said.matches("the programs are attached").count())
    }

    /// Starts a pod and waits until it runs; returns its address.
    pub(crate) async fn start(&self, pod: &Value) -> Result<String> {
        node::start(&self.admin, &self.users, pod).await?;
        let name = pod["metadata"]["name"].as_str().context("no name")?;
        let path = format!("/api/v1/namespaces/{}/pods/{name}", self.users);
        self.until("the pod runs", async || {
            let pod = get(&self.admin, &path).await?.context("it is gone")?;
            let runs = pod["status"]["phase"] == "Running";
            let address = pod["status"]["podIP"].as_str().map(str::to_owned);
            Ok(address.filter(|_| runs))
        })
        .await
    }

    /// Ends a pod and waits until it is gone.
    pub(crate) async fn end(&self, name: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}/pods/{name}", self.users);
        self.remove(&path).await
    }

    /// Deletes what is at a path, and waits until it is gone.
    pub(crate) async fn remove(&self, path: &str) -> Result<()> {
        let now = json!({ "gracePeriodSeconds": 0 });
        send(&self.admin, Method::DELETE, path, Some(&now)).await??;
        self.until(&format!("{path} is gone"), async || {
            Ok(get(&self.admin, path).await?.is_none().then_some(()))
        })
        .await
    }

    pub(crate) async fn until<T>(
        &self,
        what: &str,
        try_it: impl AsyncFn() -> Result<Option<T>>,
    ) -> Result<T> {
        waiting::until(PATIENCE, what, try_it).await
    }
}

/// A recording that goes on.
pub(crate) struct Recording<'w> {
    world: &'w World,
    path: String,
}

impl Recording<'_> {
    /// Waits until its status says of as many containers that they run and are recorded, with at
    /// least so many different calls each.
    pub(crate) async fn has(&self, containers: u64, calls: u64) -> Result<()> {
        let what = format!("{containers} containers with {calls} calls are recorded");
        self.world
            .until(&what, async || {
                let found = get(&self.world.admin, &self.path)
                    .await?
                    .unwrap_or_default();
                let told = found["status"]["nodes"][0]["containers"].as_array();
                let told = told.into_iter().flatten();
                let (running, least) = told.fold((0, u64::MAX), |(running, least), one| {
                    let number = |field: &str| one[field].as_u64().unwrap_or_default();
                    (running + number("running"), least.min(number("syscalls")))
                });
                Ok((running == containers && least >= calls).then_some(()))
            })
            .await
    }

    /// Ends it, with the profiles that it made.
    pub(crate) async fn end(self) -> Result<()> {
        self.world.remove(&self.path).await?;
        let profiles = "/apis/security-profiles-operator.x-k8s.io/v1/seccompprofiles";
        let all = format!("{profiles}?labelSelector=spo.x-k8s.io%2Frecording-id%3Dbench");
        let all = get(&self.world.admin, &all).await?.context("not served")?;
        for profile in all["items"].as_array().into_iter().flatten() {
            let name = profile["metadata"]["name"].as_str().unwrap_or_default();
            self.world.remove(&format!("{profiles}/{name}")).await?;
        }
        Ok(())
    }
}
