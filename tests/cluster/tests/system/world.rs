//! What `deploy/` installs, in pods of a real node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use spo_cluster_tests::access::{admin, namespace, remove_namespace};
use spo_cluster_tests::manifests::{Objects, apply, kustomized};
use spo_cluster_tests::node::{self, Node};
use spo_cluster_tests::objects::{create, get, send};
use spo_cluster_tests::waiting;
use tempfile::TempDir;

pub(crate) const OWN: &str = "security-profiles-operator";
pub(crate) const GROUP: &str = "/apis/security-profiles-operator.x-k8s.io/v1";
pub(crate) const PROFILES: &str = "/apis/security-profiles-operator.x-k8s.io/v1/seccompprofiles";
pub(crate) const STATUSES: &str =
    "/apis/security-profiles-operator.x-k8s.io/v1/securityprofilenodestatuses";
pub(crate) const SPOD: &str = "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/security-profiles-operator/securityprofilesoperatordaemons/spod";
pub(crate) const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/spo-validating-webhook-configuration";
pub(crate) const PODS: &str = "/api/v1/namespaces/security-profiles-operator/pods";
pub(crate) const DEPLOYMENTS: &str =
    "/apis/apps/v1/namespaces/security-profiles-operator/deployments";
pub(crate) const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/spo-mutating-webhook-configuration";
/// Loaded into the node by `cargo xtask test cluster`.
const IMAGE: &str = "localhost/spo:test";
/// A kubelet takes a minute and more to renew what it mounts.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct World {
    pub(crate) admin: Client,
    pub(crate) node: Node,
    /// For pods that use profiles.
    pub(crate) users: String,
}

impl World {
    /// Applies `deploy/` with the image of this build, and waits until all of it runs.
    pub(crate) async fn install(node: Node) -> Result<Self> {
        let admin = admin().await?;
        let users = namespace(&admin).await?;
        let world = Self { admin, node, users };
        let own = format!("/api/v1/namespaces/{OWN}");
        let gone = |own: &Value| own["metadata"]["deletionTimestamp"].is_null();
        world.becomes(&own, "an earlier one is gone", gone).await?;
        // What another test left: the operator would leave it alone.
        world.delete(MUTATING).await?;
        let mut objects: Objects = kustomized()?.context("no kubectl")?;
        for ((kind, _, _), object) in &mut objects {
            if kind == "Deployment" {
                object["spec"]["replicas"] = json!(1);
                let container = &mut object["spec"]["template"]["spec"]["containers"][0];
                container["image"] = json!(IMAGE);
                container["imagePullPolicy"] = json!("Never");
            }
        }
        apply(&world.admin, &objects).await?;
        world.runs().await?;
        world.webhook_answers().await?;
        world.sweep().await?;
        Ok(world)
    }

    /// Removes what a run that failed left.
    async fn sweep(&self) -> Result<()> {
        for plural in [
            "seccompprofiles",
            "apparmorprofiles",
            "selinuxprofiles",
            "rawselinuxprofiles",
        ] {
            let list = get(&self.admin, &format!("{GROUP}/{plural}")).await?;
            let list = list.context("not served")?;
            for profile in list["items"].as_array().into_iter().flatten() {
                let name = profile["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{GROUP}/{plural}/{name}");
                self.delete(&path).await?;
                self.not_there(&path).await?;
            }
        }
        Ok(())
    }

    /// Waits until nothing is at a path.
    pub(crate) async fn not_there(&self, path: &str) -> Result<()> {
        self.until(&format!("{path} is gone"), async || {
            let found = get(&self.admin, path).await?;
            ensure!(found.is_none(), "{:#}", found.unwrap_or_default());
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the daemons run as they are configured.
    pub(crate) async fn runs(&self) -> Result<()> {
        self.becomes(SPOD, "running", |spod| {
            let ready = &spod["status"]["conditions"][0];
            spod["status"]["state"] == "Running"
                && ready["observedGeneration"] == spod["metadata"]["generation"]
        })
        .await
        .map(drop)
    }

    /// Waits until the API server asks the webhook, trusts it, and is answered: of this object, which
    /// only the webhook refuses, nothing else would say so.
    pub(crate) async fn webhook_answers(&self) -> Result<()> {
        let bad = object(
            "RawSelinuxProfile",
            "bad",
            &json!({ "policy": "(allow process" }),
        );
        let path = format!("{GROUP}/rawselinuxprofiles?dryRun=All");
        self.until("the webhook answers", async || {
            let refused = create(&self.admin, &path, &bad).await?;
            let refused = refused.err().context("it is taken")?.to_string();
            ensure!(refused.contains("spec.policy"), "{refused}");
            Ok(Some(()))
        })
        .await
    }

    pub(crate) async fn remove(&self) -> Result<()> {
        remove_namespace(&self.admin, &self.users).await?;
        remove_namespace(&self.admin, OWN).await?;
        for registration in [REGISTRATION, MUTATING] {
            self.delete(registration).await?;
        }
        Ok(())
    }

    /// The file of a profile, as the kubelet finds it. The node has a `/var/lib` of its own, which is
    /// seen through a process in it.
    pub(crate) fn file(&self, profile: &str) -> PathBuf {
        self.folder().join(format!("{profile}.json"))
    }

    /// The folder of profiles.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root().join("var/lib/security-profiles-operator")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.node.holder.map_or_else(
            || "/".into(),
            |holder| Path::new("/proc").join(holder.to_string()).join("root"),
        )
    }

    /// Creates a profile, or changes it.
    pub(crate) async fn apply(&self, name: &str, spec: &Value) -> Result<()> {
        let path = format!("{PROFILES}/{name}");
        self.until("the profile is written", async || {
            let written = match get(&self.admin, &path).await? {
                None => {
                    let object = object("SeccompProfile", name, spec);
                    create(&self.admin, PROFILES, &object).await?
                }
                Some(mut old) => {
                    old["spec"] = spec.clone();
                    send(&self.admin, Method::PUT, &path, Some(&old)).await?
                }
            };
            match written {
                // The operator wrote its status in between.
                Err(refusal) if refusal.code == 409 => Ok(None),
                written => Ok(Some(written?)),
            }
        })
        .await
        .map(drop)
    }

    /// Waits until a profile, as it is now, is on as many nodes, which is all of them.
    pub(crate) async fn installed(&self, name: &str, nodes: u64) -> Result<Value> {
        let path = format!("{PROFILES}/{name}");
        self.becomes(&path, "installed", |profile| {
            let status = &profile["status"];
            status["status"] == "Installed"
                && status["nodes"] == json!({ "ready": nodes, "desired": nodes })
                && status["conditions"][0]["observedGeneration"]
                    == profile["metadata"]["generation"]
        })
        .await
    }

    /// Waits until a profile says something of itself.
    pub(crate) async fn is(&self, name: &str, status: &str) -> Result<Value> {
        self.becomes(&format!("{PROFILES}/{name}"), status, |profile| {
            profile["status"]["status"] == status
        })
        .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        match send(&self.admin, Method::DELETE, path, None).await? {
            Err(refusal) if refusal.code != 404 => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// Deletes a profile.
    pub(crate) async fn delete_profile(&self, name: &str) -> Result<()> {
        self.delete(&format!("{PROFILES}/{name}")).await
    }

    /// Waits until neither the profile, nor what nodes say of it, nor its file is there.
    pub(crate) async fn gone(&self, name: &str) -> Result<()> {
        self.not_there(&format!("{PROFILES}/{name}")).await?;
        ensure!(!self.file(name).exists(), "the file of {name} is left");
        let none = async || Ok(self.statuses(name).await?.is_empty().then_some(()));
        self.until("nothing is said of it", none).await
    }

    /// What nodes say of a profile.
    pub(crate) async fn statuses(&self, profile: &str) -> Result<Vec<Value>> {
        let list = get(&self.admin, STATUSES).await?.context("not served")?;
        let mut all = list["items"].as_array().cloned().unwrap_or_default();
        all.retain(|status| status["metadata"]["ownerReferences"][0]["name"] == profile);
        Ok(all)
    }

    /// Ends a pod at once.
    pub(crate) async fn end_pod(&self, name: &str) -> Result<()> {
        let now = json!({ "gracePeriodSeconds": 0 });
        let path = format!("/api/v1/namespaces/{}/pods/{name}", self.users);
        send(&self.admin, Method::DELETE, &path, Some(&now)).await??;
        Ok(())
    }

    /// Waits until a pod that uses profiles runs.
    pub(crate) async fn runs_pod(&self, pod: &Value) -> Result<()> {
        node::start(&self.admin, &self.users, pod).await?;
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let running = |pod: &Value| pod["status"]["phase"] == "Running";
        node::wait(&self.admin, &self.users, name, running).await?;
        Ok(())
    }

    pub(crate) async fn merge(&self, path: &str, change: &Value) -> Result<Value> {
        let request = Request::patch(path)
            .header("Content-Type", "application/merge-patch+json")
            .body(change.to_string().into_bytes())?;
        let context = || format!("failed to patch {path}");
        self.admin.request(request).await.with_context(context)
    }

    /// What kubectl says.
    pub(crate) fn kubectl(arguments: &[&str]) -> Result<String> {
        let about = node::about()?.context("this cluster says nothing about itself")?;
        // What an earlier cluster of the same address had is not what this one has.
        let cache = TempDir::new()?;
        let output = Command::new(about.kubectl)
            .arg("--cache-dir")
            .arg(cache.path())
            .args(arguments)
            .output()?;
        ensure!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until what is at a path is as it should be.
    pub(crate) async fn becomes(
        &self,
        path: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        waiting::becomes(&self.admin, path, PATIENCE, what, is).await
    }

    /// Waits until something is so. The API server may be away meanwhile.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        try_it: impl AsyncFn() -> Result<Option<T>>,
    ) -> Result<T> {
        waiting::until(PATIENCE, what, try_it).await
    }
}

pub(crate) fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// A profile that refuses these calls alone.
pub(crate) fn refuses(syscalls: &[&str]) -> Value {
    json!({
        "state": "Enabled",
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "action": "SCMP_ACT_ERRNO", "names": syscalls }],
    })
}

pub(crate) fn localhost(profile: &str) -> Value {
    json!({ "type": "Localhost", "localhostProfile": format!("operator/{profile}.json") })
}

/// Says that something is passed over, in a line of its own.
#[expect(
    clippy::print_stdout,
    reason = "what a test passes over is counted by its printed line"
)]
pub(crate) fn skipped(what: &str) {
    println!("\nskipped: {what}");
}

/// A pod that waits, and whose containers are bound by a profile.
pub(crate) fn user(name: &str, profile: &str) -> Value {
    let mut pod = node::pod(name, "sleep 1000");
    pod["spec"]["securityContext"]["seccompProfile"] = localhost(profile);
    pod
}
