//! A cluster with a node, the commands of `docs/install.md`, and what can be asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use spo_cluster_tests::access::admin;
use spo_cluster_tests::crd::Kind;
use spo_cluster_tests::files::folder;
use spo_cluster_tests::manifests::{Objects, apply, kustomized};
use spo_cluster_tests::node::{self, Node};
use spo_cluster_tests::objects::{get, replace, send};
use spo_cluster_tests::waiting;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const OWN: &str = "security-profiles-operator";
pub(crate) const GROUP: &str = "security-profiles-operator.x-k8s.io";
pub(crate) const V1: &str = "/apis/security-profiles-operator.x-k8s.io/v1";
pub(crate) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/spo-mutating-webhook-configuration";
pub(crate) const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/spo-validating-webhook-configuration";
/// A node with a daemon of another version.
pub(crate) const NEWER: &str = "newer";
/// Loaded into the node by `cargo xtask test cluster`.
const IMAGE: &str = "localhost/spo:test";
const PATIENCE: Duration = Duration::from_mins(2);

/// There is one operator in a cluster.
static TURN: Mutex<()> = Mutex::const_new(());

pub(crate) struct World {
    pub(crate) admin: Client,
    pub(crate) node: Node,
    kubectl: PathBuf,
    /// Where commands run.
    files: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Nothing of the operator is there, of whatever version; nothing, if there is no node.
    pub(crate) async fn new() -> Result<Option<Self>> {
        let turn = TURN.lock().await;
        let Some(node) = node::required()? else {
            return Ok(None);
        };
        let about = node::about()?.context("the cluster says nothing about itself")?;
        let world = Self {
            admin: admin().await?,
            node,
            kubectl: about.kubectl,
            files: TempDir::new().context("failed to make a folder")?,
            _turn: turn,
        };
        world.sweep().await?;
        Ok(Some(world))
    }

    /// Removes everything of the operator, whatever holds it.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let node = format!("/api/v1/nodes/{NEWER}");
        for path in [MUTATING, VALIDATING, &node] {
            self.delete(path).await?;
        }
        // Pods of a run that failed would count.
        let users = "/api/v1/namespaces?labelSelector=spo.x-k8s.io/enable-binding";
        let users = self.get(users).await?;
        let namespaces = items(&users).map(name_of).chain([OWN]);
        let namespaces: Vec<_> = namespaces
            .map(|name| format!("/api/v1/namespaces/{name}"))
            .collect();
        for namespace in &namespaces {
            self.delete(namespace).await?;
        }
        for file in folder("deploy/crds")? {
            self.remove_definition(&file.object).await?;
        }
        for namespace in &namespaces {
            self.is_gone(namespace).await?;
        }
        for place in [self.root(), self.node.kubelet.join("seccomp/operator")] {
            fs::remove_dir_all(&place)
                .or_else(|_| fs::remove_file(&place))
                .ok();
        }
        Ok(())
    }

    async fn remove_definition(&self, ours: &Value) -> Result<()> {
        let name = ours["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{CRDS}/{name}");
        let Some(mut crd) = get(&self.admin, &path).await? else {
            return Ok(());
        };
        crd["spec"]["conversion"] = json!({ "strategy": "None" });
        replace(&self.admin, &path, &crd).await??;
        self.delete(&path).await?;
        let kind = Kind::of(&crd)?;
        self.until("the definition is gone", async || {
            for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
                let version = version["name"].as_str().unwrap_or_default();
                let list = kind.path(version, None);
                let list = get(&self.admin, &list).await.ok().flatten();
                for object in items(&list.unwrap_or_default()) {
                    let namespace = object["metadata"]["namespace"].as_str();
                    let path = kind.path(version, namespace);
                    let path = format!("{path}/{}", name_of(object));
                    let none = json!({ "metadata": { "finalizers": null } });
                    self.merge(&path, &none).await.ok();
                }
            }
            Ok(get(&self.admin, &path).await?.is_none().then_some(()))
        })
        .await
    }

    /// The folder of profiles. The node has a `/var/lib` of its own, which is seen through a
    /// process in it.
    pub(crate) fn root(&self) -> PathBuf {
        let root = self.node.holder.map_or_else(
            || "/".into(),
            |holder| Path::new("/proc").join(holder.to_string()).join("root"),
        );
        root.join("var/lib/security-profiles-operator")
    }

    /// Runs the commands below a heading of `docs/install.md`, as they stand there; but the
    /// manifests get the image of this build, and are applied as this server takes them.
    pub(crate) async fn follow(&self, heading: &str) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for script in documented(heading)? {
            if script.starts_with("kubectl apply -k deploy\n") {
                self.install().await?;
            }
            let script = script.replace("kubectl apply -k deploy\n", "");
            let said_now = match script.as_str() {
                // Its exit code is 1: what this version cannot install is an error.
                "spo profiles\n" => self.run("spo profiles || [ $? = 1 ]")?,
                script => self.run(script)?,
            };
            said.push(said_now);
        }
        Ok(said)
    }

    fn run(&self, script: &str) -> Result<String> {
        let spo = std::env::var_os("SPO_BIN").context("SPO_BIN does not name the binary spo")?;
        let programs = [&self.kubectl, Path::new(&spo)].map(Path::parent);
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let old = std::env::split_paths(&paths);
        let programs = programs.into_iter().flatten().map(Path::to_owned);
        let output = Command::new("sh")
            .args(["-ec", script])
            .env("PATH", std::env::join_paths(programs.chain(old))?)
            .env("HOME", self.files.path())
            .current_dir(self.files.path())
            .output()
            .context("failed to run a shell")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, complaint) = (text(&output.stdout), text(&output.stderr));
        ensure!(output.status.success(), "{script}\n{said}\n{complaint}");
        Ok(said)
    }

    /// Applies `deploy/` with the image of this build.
    pub(crate) async fn install(&self) -> Result<()> {
        let mut objects: Objects = kustomized()?.context("no kubectl")?;
        for ((kind, _, _), object) in &mut objects {
            if kind == "Deployment" {
                object["spec"]["replicas"] = json!(1);
                let container = &mut object["spec"]["template"]["spec"]["containers"][0];
                container["image"] = json!(IMAGE);
                container["imagePullPolicy"] = json!("Never");
            }
        }
        apply(&self.admin, &objects).await?;
        Ok(())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        get(&self.admin, path)
            .await?
            .with_context(|| format!("there is no {path}"))
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        match send(&self.admin, Method::DELETE, path, None).await? {
            Err(refusal) if refusal.code != 404 => Err(refusal).context(path.to_owned()),
            _ => Ok(()),
        }
    }

    pub(crate) async fn merge(&self, path: &str, change: &Value) -> Result<Value> {
        let request = Request::patch(path)
            .header("Content-Type", "application/merge-patch+json")
            .body(change.to_string().into_bytes())?;
        let context = || format!("failed to patch {path}");
        self.admin.request(request).await.with_context(context)
    }

    pub(crate) async fn becomes(
        &self,
        path: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        waiting::becomes(&self.admin, path, PATIENCE, what, is).await
    }

    pub(crate) async fn is_gone(&self, path: &str) -> Result<()> {
        self.becomes(path, "gone", Value::is_null).await.map(drop)
    }

    pub(crate) async fn event(&self, namespace: &str, reason: &str) -> Result<String> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        self.until(reason, async || {
            let list = get(&self.admin, &path).await?.unwrap_or_default();
            let mut events = items(&list);
            let event = events.find(|event| event["reason"] == reason);
            Ok(event.map(|event| event["note"].to_string()))
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

pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

pub(crate) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The code below a heading, each piece as a script.
fn documented(heading: &str) -> Result<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/install.md");
    let text = fs::read_to_string(path).context("failed to read docs/install.md")?;
    let mut lines = text.lines().skip_while(|line| *line != heading);
    lines.next().context("there is no such heading")?;
    let mut scripts = vec![String::new()];
    for line in lines.take_while(|line| !line.starts_with('#')) {
        let last = scripts.last_mut().context("no script")?;
        if line.starts_with("    ") {
            last.push_str(line.trim_start());
            last.push('\n');
        } else if !last.is_empty() {
            scripts.push(String::new());
        }
    }
    scripts.retain(|script| !script.is_empty());
    ensure!(!scripts.is_empty(), "no commands below {heading}");
    Ok(scripts)
}
