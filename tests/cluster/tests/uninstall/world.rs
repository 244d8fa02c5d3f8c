//! A cluster in which everything runs, as `deploy/` installs it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use spo_cluster_tests::access::admin;
use spo_cluster_tests::manifests::{apply, kustomized};
use spo_cluster_tests::node::{self, About, Node};
use spo_cluster_tests::objects::{create, get, send};
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const OWN: &str = "security-profiles-operator";
pub(crate) const GROUP: &str = "/apis/security-profiles-operator.x-k8s.io/v1";
pub(crate) const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/spo-validating-webhook-configuration";
pub(crate) const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/seccompprofiles.security-profiles-operator.x-k8s.io";
pub(crate) const MONITORS: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/servicemonitors.monitoring.coreos.com";
pub(crate) const MONITOR: &str = "/apis/monitoring.coreos.com/v1/namespaces/security-profiles-operator/servicemonitors/security-profiles-operator-monitor";
/// Loaded into the node by `cargo xtask test cluster`.
pub(crate) const IMAGE: &str = "localhost/spo:test";
const PATIENCE: Duration = Duration::from_mins(2);
const INTERVAL: Duration = Duration::from_millis(200);

/// There is one namespace of that name.
static TURN: Mutex<()> = Mutex::const_new(());

pub(crate) struct World {
    pub(crate) admin: Client,
    pub(crate) about: About,
    node: Node,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Installs everything; nothing where there is no node.
    pub(crate) async fn install() -> Result<Option<Self>> {
        let Some(node) = node::required()? else {
            return Ok(None);
        };
        let world = Self {
            admin: admin().await?,
            about: node::about()?.context("the cluster says nothing about itself")?,
            node,
            _turn: TURN.lock().await,
        };
        // What another test program left, or a failed run of this one.
        let pods = get(
            &world.admin,
            "/api/v1/pods?labelSelector=app%3Duninstall-test",
        )
        .await?;
        let pods = pods.unwrap_or_default();
        for pod in pods["items"].as_array().into_iter().flatten() {
            let name = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
            world.end(name("namespace"), name("name")).await?;
        }
        world.delete("/api/v1/nodes/uninstall-away").await?;
        let (code, said) = world.uninstall(&["--image", IMAGE]).await?;
        ensure!(code == Some(0), "{said}");
        let path = format!("/api/v1/namespaces/{OWN}");
        world.delete(&path).await?;
        world.gone(&path).await?;
        world.again().await?;
        Ok(Some(world))
    }

    /// Applies `deploy/` with the image of this build, and waits until all of it runs.
    pub(crate) async fn again(&self) -> Result<()> {
        let mut objects = kustomized()?.context("no kubectl")?;
        for ((kind, _, _), object) in &mut objects {
            if kind == "Deployment" {
                object["spec"]["replicas"] = json!(1);
                let container = &mut object["spec"]["template"]["spec"]["containers"][0];
                container["image"] = json!(IMAGE);
                container["imagePullPolicy"] = json!("Never");
            }
        }
        apply(&self.admin, &objects).await?;
        let spod = format!("{GROUP}/namespaces/{OWN}/securityprofilesoperatordaemons/spod");
        self.becomes(&spod, "running", |spod| {
            spod["status"]["state"] == "Running"
        })
        .await?;
        let webhook = format!("/apis/apps/v1/namespaces/{OWN}/deployments/{OWN}-webhook");
        self.becomes(&webhook, "available", |webhook| {
            webhook["status"]["availableReplicas"] == webhook["spec"]["replicas"]
        })
        .await?;
        self.becomes(REGISTRATION, "trusted", |registration| {
            let mut webhooks = registration["webhooks"].as_array().into_iter().flatten();
            webhooks.all(|webhook| webhook["clientConfig"]["caBundle"].is_string())
        })
        .await
    }

    /// Objects of the other kinds, as the reference leaves them: held by finalizers of its own.
    pub(crate) async fn one_of_each_kind(&self, users: &str) -> Result<()> {
        let reference = json!({ "kind": "SeccompProfile", "name": "old" });
        let recording = json!({ "kind": "SeccompProfile", "recorder": "Logs", "podSelector": {} });
        for (kind, spec, finalizer) in [
            ("AppArmorProfile", json!({}), "node-deleted"),
            ("SelinuxProfile", json!({}), "node-deleted"),
            (
                "RawSelinuxProfile",
                json!({ "policy": "(blockinherit container)" }),
                "node-deleted",
            ),
            (
                "ProfileBinding",
                json!({ "profileRef": reference, "image": "*" }),
                "active-workload-lock",
            ),
            (
                "ProfileRecording",
                recording,
                "active-seccomp-profile-recording-lock",
            ),
        ] {
            let object = json!({
                "apiVersion": "security-profiles-operator.x-k8s.io/v1",
                "kind": kind,
                "metadata": { "name": "old", "finalizers": [finalizer] },
                "spec": spec,
            });
            let plural = format!("{}s", kind.to_lowercase());
            let place = if kind.ends_with("Profile") {
                format!("{GROUP}/{plural}")
            } else {
                format!("{GROUP}/namespaces/{users}/{plural}")
            };
            let made = create(&self.admin, &place, &object).await?;
            made.with_context(|| format!("{kind} is not accepted"))?;
            if kind == "ProfileBinding" {
                self.counts_for_a_pod(users, &format!("{place}/old"))
                    .await?;
            }
            if kind == "ProfileRecording" {
                // The operator holds it as long as a node has something of it.
                let nodes = json!([{ "name": "spo-node", "pods": ["a"], "dropped": 0 }]);
                let change = json!({ "status": { "nodes": nodes } }).to_string();
                let request = Request::patch(format!("{place}/old/status"))
                    .header("Content-Type", "application/merge-patch+json")
                    .body(change.into_bytes())?;
                self.admin.request::<Value>(request).await?;
            }
        }
        Ok(())
    }

    /// Makes a pod that a binding counts for, so that the operator holds the binding.
    async fn counts_for_a_pod(&self, users: &str, binding: &str) -> Result<()> {
        let given = json!([{
            "binding": format!("{users}/old"),
            "kind": "SeccompProfile",
            "profile": "old",
            "mode": "Enforce",
            "containers": [],
            "outcome": "RuntimeDefault",
        }]);
        let mut pod = node::pod("bound", "sleep 1000");
        pod["metadata"]["labels"] = json!({ "spo.x-k8s.io/bound": "true" });
        pod["metadata"]["annotations"] = json!({ "spo.x-k8s.io/bindings": given.to_string() });
        node::start(&self.admin, users, &pod).await?;
        let is_held = |binding: &Value| {
            binding["status"]["pods"] == 1
                && binding["metadata"]["finalizers"] == json!(["active-workload-lock"])
        };
        self.becomes(binding, "held", is_held).await
    }

    /// A profile that is on the node.
    pub(crate) async fn profile(&self, name: &str) -> Result<()> {
        let object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": "SeccompProfile",
            "metadata": { "name": name },
            "spec": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "action": "SCMP_ACT_ERRNO", "names": ["mkdir", "mkdirat"] }],
            },
        });
        create(&self.admin, &format!("{GROUP}/seccompprofiles"), &object).await??;
        self.profile_is_installed(name).await
    }

    pub(crate) async fn profile_is_installed(&self, name: &str) -> Result<()> {
        self.becomes(&profile(name), "installed", |profile| {
            profile["status"]["status"] == "Installed" && profile["status"]["nodes"]["ready"] == 1
        })
        .await
    }

    /// A pod that runs under a profile.
    pub(crate) async fn user(&self, namespace: &str, profile: &str) -> Result<()> {
        node::start(&self.admin, namespace, &user_pod(profile)).await?;
        node::wait(&self.admin, namespace, "user", |pod| {
            pod["status"]["phase"] == "Running"
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn end(&self, namespace: &str, pod: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}");
        self.delete(&format!("{path}?gracePeriodSeconds=0")).await?;
        self.gone(&path).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        match send(&self.admin, Method::DELETE, path, None).await? {
            Err(refusal) if refusal.code != 404 => bail!("cannot delete {path}: {refusal}"),
            _ => Ok(()),
        }
    }

    /// What takes the operator away before its work is done. Not all kinds of the manifests are
    /// known to every server, and nobody waits here for what hangs.
    pub(crate) fn bare_deletion(&self) -> Result<()> {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        Command::new(&self.about.kubectl)
            .args(["delete", "--wait=false", "-k"])
            .arg(deploy)
            .output()
            .context("failed to run kubectl")?;
        Ok(())
    }

    pub(crate) async fn stop_operator(&self) -> Result<()> {
        let place = format!("/apis/apps/v1/namespaces/{OWN}/deployments/{OWN}");
        let request = Request::patch(&place)
            .header("Content-Type", "application/merge-patch+json")
            .body(br#"{"spec":{"replicas":0}}"#.to_vec())?;
        self.admin.request::<Value>(request).await?;
        let pods = format!("/api/v1/namespaces/{OWN}/pods?labelSelector=name%3D{OWN}");
        self.becomes(&pods, "without an operator", |pods| {
            pods["items"] == json!([])
        })
        .await
    }

    fn command(arguments: &[&str]) -> Result<Command> {
        let spo = std::env::var("SPO_BIN").context("SPO_BIN does not name the binary spo")?;
        let mut command = Command::new(spo);
        command
            .arg("uninstall")
            .args(arguments)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs it as the administrator; returns its exit code and all that it said.
    pub(crate) async fn uninstall(&self, arguments: &[&str]) -> Result<(Option<i32>, String)> {
        let mut command = Self::command(arguments)?;
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok((output.status.code(), said))
    }

    /// Runs it and kills it when it says that it is about to do something, if it comes to that.
    pub(crate) fn uninstall_until(moment: &str) -> Result<()> {
        let mut child = Self::command(&[])?.stderr(Stdio::piped()).spawn()?;
        let said = child.stderr.take().context("no standard error")?;
        for line in BufReader::new(said).lines() {
            if line?.contains(moment) {
                break;
            }
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// A path of the node, which has a `/var/lib` of its own; it is seen through a process in it.
    fn on_node(&self, path: &str) -> PathBuf {
        let root = self.node.holder.map_or_else(
            || "/".into(),
            |holder| Path::new("/proc").join(holder.to_string()).join("root"),
        );
        root.join(path)
    }

    /// A file in the folder of profiles.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.on_node("var/lib/security-profiles-operator")
            .join(name)
    }

    /// Neither in the cluster, nor on the node.
    pub(crate) async fn nothing_is_left(&self) -> Result<()> {
        for kind in [
            "apparmorprofiles",
            "profilebindings",
            "profilerecordings",
            "rawselinuxprofiles",
            "seccompprofiles",
            "securityprofilenodestatuses",
            "securityprofilesoperatordaemons",
            "selinuxprofiles",
        ] {
            let found = get(&self.admin, &format!("{GROUP}/{kind}")).await?;
            let found = found.unwrap_or_default();
            let none = found["items"].as_array().is_none_or(Vec::is_empty);
            ensure!(none, "{found:#}");
        }
        for place in [
            REGISTRATION.to_owned(),
            format!("/apis/apps/v1/namespaces/{OWN}/daemonsets/spod"),
            format!("/apis/apps/v1/namespaces/{OWN}/deployments/{OWN}-webhook"),
            format!("/api/v1/namespaces/{OWN}/services/metrics"),
            format!("/api/v1/namespaces/{OWN}/services/webhook-service"),
            format!("/api/v1/namespaces/{OWN}/secrets/{OWN}-ca"),
            format!("/api/v1/namespaces/{OWN}/secrets/webhook-server-cert"),
            format!("/api/v1/namespaces/{OWN}/secrets/metrics-server-cert"),
            format!("/apis/coordination.k8s.io/v1/namespaces/{OWN}/leases/{OWN}-lock"),
        ] {
            ensure!(get(&self.admin, &place).await?.is_none(), "{place} is left");
        }
        for path in [
            "var/lib/security-profiles-operator",
            "var/lib/kubelet/seccomp/operator",
            "var/lib/kubelet/seccomp/security-profiles-operator.json",
        ] {
            let path = self.on_node(path);
            let found = path.symlink_metadata();
            ensure!(found.is_err(), "{} is left", path.display());
        }
        Ok(())
    }

    pub(crate) async fn becomes(
        &self,
        path: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            let object = get(&self.admin, path).await?.unwrap_or_default();
            if is(&object) {
                return Ok(());
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "{path} is not {what}: {object:#}"
            );
            tokio::time::sleep(INTERVAL).await;
        }
    }

    pub(crate) async fn gone(&self, path: &str) -> Result<()> {
        self.becomes(path, "gone", Value::is_null).await
    }
}

/// The path of a profile.
pub(crate) fn profile(name: &str) -> String {
    format!("{GROUP}/seccompprofiles/{name}")
}

pub(crate) fn user_pod(profile: &str) -> Value {
    let mut pod = node::pod("user", "sleep 1000");
    pod["metadata"]["labels"] = json!({ "app": "uninstall-test" });
    pod["spec"]["securityContext"]["seccompProfile"] = json!({
        "type": "Localhost",
        "localhostProfile": format!("operator/{profile}.json"),
    });
    pod
}
