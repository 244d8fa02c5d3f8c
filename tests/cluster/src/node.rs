//! The node of a cluster that `cargo xtask cluster up --node` made: what is known about it, and pods
//! that run there.
#![expect(
    clippy::print_stdout,
    reason = "what a test passes over is counted by its printed line"
)]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use http::Request;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::objects::{Refusal, create, get};

const PATIENCE: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(100);

/// What a cluster says about itself, in a file beside the one that `KUBECONFIG` names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// What the API server was asked, by whom, and what it answered; a line of JSON for each.
    pub audit_log: PathBuf,
    /// A kubectl that fits.
    pub kubectl: PathBuf,
    /// The node, if there is one.
    pub node: Option<Node>,
}

/// A node on which pods run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// What it is called in the cluster.
    pub name: String,
    /// The kubelet's folder, as seen from here; the node sees it as `/var/lib/kubelet`.
    pub kubelet: PathBuf,
    /// Where servers of this machine are reached from the cluster.
    pub host_address: Ipv4Addr,
    /// The process in whose mount and network namespaces the cluster is.
    pub holder: Option<i32>,
}

impl Node {
    /// A program in the network of the cluster.
    pub fn inside(&self, program: &str) -> Command {
        let Some(holder) = self.holder else {
            return Command::new(program);
        };
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{holder}/ns/net"))
            .args(["--", program]);
        command
    }

    /// The processes of a verb of `spo` in this cluster's pods, each by its id. Other clusters of this
    /// machine have such processes, too.
    pub fn processes(&self, verb: &str) -> Result<Vec<i32>> {
        let is = format!("/spo\0{verb}\0");
        self.processes_with("cmdline", is.as_bytes())
    }

    /// The processes of this cluster that have a file in `/proc` which begins with something.
    pub fn processes_with(&self, file: &str, begins: &[u8]) -> Result<Vec<i32>> {
        let [_, _, number, _] = self.host_address.octets();
        let cgroup = format!("/spo-{number}/");
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Ok(id) = entry.file_name().to_string_lossy().parse() else {
                continue;
            };
            // Whoever has ended by now has neither.
            let read = |file| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let cgroups = read("cgroup");
            // One that has ended, of an earlier cluster with this number, may be there until its parent looks.
            let is_here = String::from_utf8_lossy(&cgroups)
                .lines()
                .any(|line| line.contains(&cgroup) && !line.ends_with(" (deleted)"));
            if is_here && read(file).starts_with(begins) {
                found.push(id);
            }
        }
        Ok(found)
    }
}

/// What is known about the cluster; nothing about those that were made elsewhere.
pub fn about() -> Result<Option<About>> {
    let kubeconfig = std::env::var_os("KUBECONFIG").context("KUBECONFIG is not set")?;
    let file = Path::new(&kubeconfig).with_file_name("about.json");
    if !file.exists() {
        return Ok(None);
    }
    let context = || format!("failed to read {}", file.display());
    let text = std::fs::read_to_string(&file).with_context(context)?;
    serde_json::from_str(&text).with_context(context)
}

/// The node that a test needs; without one, a line says that the test is skipped.
pub fn required() -> Result<Option<Node>> {
    let node = about()?.and_then(|about| about.node);
    if node.is_none() {
        println!("skipped: this cluster has no node whose folders can be seen from here");
    }
    Ok(node)
}

/// A pod of one container that runs a script, once. Its image is `localhost/busybox:test`.
pub fn pod(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main",
                "image": "localhost/busybox:test",
                "imagePullPolicy": "Never",
                "command": ["sh", "-c", script],
            }],
        },
    })
}

/// Creates a pod; in a new namespace, its service account may have to be waited for.
pub async fn start(client: &Client, namespace: &str, pod: &Value) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let begin = Instant::now();
    loop {
        let Err(refusal) = create(client, &path, pod).await? else {
            return Ok(());
        };
        let Refusal { code, message } = &refusal;
        let early = *code == 403 && message.contains("serviceaccount");
        if !early || begin.elapsed() > PATIENCE {
            return Err(refusal).context("failed to create a pod");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Waits until a pod is as it should be, and returns it.
pub async fn wait(
    client: &Client,
    namespace: &str,
    name: &str,
    ready: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let begin = Instant::now();
    loop {
        let pod = get(client, &path)
            .await?
            .with_context(|| format!("there is no pod {name}"))?;
        if ready(&pod) {
            return Ok(pod);
        }
        if begin.elapsed() > PATIENCE {
            bail!("the pod {name} is still {}", pod["status"]);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Runs a pod to its end, and returns it.
pub async fn run_to_end(client: &Client, namespace: &str, pod: &Value) -> Result<Value> {
    start(client, namespace, pod).await?;
    let name = pod["metadata"]["name"].as_str().context("no name")?;
    let ended = wait(client, namespace, name, |pod| {
        ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
    });
    ended.await
}

/// Runs a pod of one container to its end, and returns what it printed.
pub async fn run(client: &Client, namespace: &str, pod: &Value) -> Result<String> {
    run_to_end(client, namespace, pod).await?;
    let name = pod["metadata"]["name"].as_str().context("no name")?;
    logs(client, namespace, name).await
}

/// What a pod printed until now.
pub async fn logs(client: &Client, namespace: &str, name: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/log");
    let request = Request::get(&path).body(Vec::new())?;
    client
        .request_text(request)
        .await
        .with_context(|| format!("failed to get {path}"))
}

/// Runs a command in a pod.
pub fn exec(namespace: &str, name: &str, command: &[&str]) -> Result<Output> {
    let about = about()?.context("this cluster says nothing about itself")?;
    Command::new(&about.kubectl)
        .args(["--namespace", namespace, "exec", name, "--"])
        .args(command)
        .output()
        .context("failed to run kubectl")
}
