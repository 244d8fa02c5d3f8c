//! Takes files from nodes: a pod on each that is ready, put there without the scheduler, which
//! reports what became of it in its last message. Pods and not a `DaemonSet`, because they end: what
//! ended well is known by that, for each node, and nothing has to run on until all are done.
//!
//! A pod has root's id and the right to pass over permissions, for the folder of profiles is the
//! daemons'; it has no other, and no token. It sees the folder above, without which it could empty
//! the folder but not remove it.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::watcher;
use kube::{Client, Error as KubeError, ResourceExt as _};
use serde_json::{Value, json};

use super::apply::State;
use super::observe::{Runs, Seen};
use super::pods::{Late, until};
use super::{Error, known, request};
use crate::api::names::node_label;
use crate::cluster::MANAGER;
use crate::cluster::error;
use crate::node::cleanup::Report;
use crate::node::setup::ROOT;
use crate::profile::few::few;

/// The label of these pods.
pub(super) const NAME: &str = "uninstall-node";
/// What a new namespace has first of all; pods cannot be made before.
const ACCOUNT: &str = "default";

/// Where pods are made.
pub(super) struct Workshop {
    client: Client,
    namespace: String,
    /// Whether the namespace is there for this alone.
    is_made: bool,
    runs: Runs,
    keep: BTreeSet<String>,
    patience: Duration,
}

impl Workshop {
    /// In the operator's namespace. Where that is gone or ending, in another one, which goes again.
    pub(super) async fn open(
        client: &Client,
        seen: &Seen,
        keep: &BTreeSet<String>,
        patience: Duration,
    ) -> Result<Self, Error> {
        let is_made = !seen.is_active;
        let namespace = if is_made {
            let name = format!("{}-uninstall", seen.namespace);
            make_namespace(client, &name, patience).await?;
            name
        } else {
            seen.namespace.clone()
        };
        Ok(Self {
            client: client.clone(),
            namespace,
            is_made,
            runs: seen.runs.clone(),
            keep: keep.clone(),
            patience,
        })
    }

    pub(super) async fn close(self) -> Result<(), Error> {
        if !self.is_made {
            return Ok(());
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let deleted = namespaces
            .delete(&self.namespace, &DeleteParams::background())
            .await;
        let attempt = format!("remove the namespace {}", self.namespace);
        known(deleted).map_err(request(attempt))?;
        end_of(&namespaces, &self.namespace, self.patience).await
    }

    /// Cleans a node up.
    pub(super) async fn clean(&self, node: &str) -> State {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = format!("spo-uninstall-{}", node_label(node));
        let state = match self.run(&pods, &name, node).await {
            Ok(state) => state,
            Err(error) => State::Left(format!(
                "{}; what was installed there is left",
                error::told(&error)
            )),
        };
        match remove(&pods, &name).await {
            Ok(()) => state,
            Err(error) => State::Left(format!(
                "the pod {name} cannot be removed: {}",
                error::told(&error)
            )),
        }
    }

    async fn run(&self, pods: &Api<Pod>, name: &str, node: &str) -> Result<State, KubeError> {
        let pod: Pod =
            serde_json::from_value(self.pod(name, node)).map_err(KubeError::SerdeError)?;
        let named = || watcher::Config::default().fields(&format!("metadata.name={name}"));
        // One of a run that was ended.
        remove(pods, name).await?;
        let gone = until(pods.clone(), named(), self.patience, |pods| {
            pods.is_empty().then_some(())
        });
        if gone.await.is_err() {
            let why = format!("the pod {name} of an earlier run does not end: remove it");
            return Ok(State::Left(why));
        }
        pods.create(&PostParams::default(), &pod).await?;
        let ended = until(pods.clone(), named(), self.patience, |pods| {
            let pod = pods.get(name)?;
            let phase = pod.status.as_ref()?.phase.as_deref()?;
            ["Succeeded", "Failed"]
                .contains(&phase)
                .then(|| pod.clone())
        });
        Ok(match ended.await {
            Ok(pod) => told(&pod),
            Err(late) => State::Left(format!(
                "not done in {} s: {}; what was installed there is left",
                self.patience.as_secs(),
                waiting(&late)
            )),
        })
    }

    fn pod(&self, name: &str, node: &str) -> Value {
        let Runs {
            image,
            pull_policy,
            pull_secrets,
            kubelet,
            selinux,
        } = &self.runs;
        let above = ROOT.rsplit_once('/').map_or("/", |(above, _)| above);
        let volume = |name: &str, path: &str, kind: &str| json!({ "name": name, "hostPath": { "path": path, "type": kind } });
        // Volumes of pods that end meanwhile go here as well, so that none is held.
        let mount = |name: &str, path: &str| {
            json!({
                "name": name,
                "mountPath": format!("/host{path}"),
                "mountPropagation": "HostToContainer",
            })
        };
        let mut volumes = vec![volume("host", above, "Directory")];
        let mut mounts = vec![mount("host", above)];
        if !kubelet.starts_with(&format!("{above}/")) {
            let seccomp = format!("{kubelet}/seccomp");
            volumes.push(volume("kubelet", &seccomp, "DirectoryOrCreate"));
            mounts.push(mount("kubelet", &seccomp));
        }
        let mut arguments = vec![
            "node-cleanup".to_owned(),
            "--report=/dev/termination-log".to_owned(),
        ];
        arguments.extend(self.keep.iter().map(|file| format!("--keep={file}")));
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": { "app": MANAGER, "name": NAME },
                "annotations": { "openshift.io/scc": "privileged" },
            },
            "spec": {
                "nodeName": node,
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 0,
                "tolerations": [{ "operator": "Exists" }],
                "imagePullSecrets": pull_secrets,
                "securityContext": {
                    "seccompProfile": { "type": "RuntimeDefault" },
                    "seLinuxOptions": { "type": selinux.as_deref().unwrap_or("spc_t") },
                },
                "containers": [{
                    "name": "node-cleanup",
                    "image": image,
                    "imagePullPolicy": pull_policy.as_deref().unwrap_or("IfNotPresent"),
                    "args": arguments,
                    "env": [{ "name": "KUBELET_DIR", "value": kubelet }],
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "resources": {
                        "requests": { "memory": "16Mi", "cpu": "10m" },
                        "limits": { "memory": "64Mi" },
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": { "drop": ["ALL"], "add": ["DAC_OVERRIDE"] },
                        "readOnlyRootFilesystem": true,
                        "runAsUser": 0,
                        "runAsGroup": 0,
                    },
                    "volumeMounts": mounts,
                }],
                "volumes": volumes,
            },
        })
    }
}

async fn make_namespace(client: &Client, name: &str, patience: Duration) -> Result<(), Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = json!({
        "metadata": {
            "name": name,
            "labels": { "app": MANAGER, "pod-security.kubernetes.io/enforce": "privileged" },
        },
    });
    let attempt = || request(format!("make the namespace {name}"));
    let object = serde_json::from_value(object)
        .map_err(KubeError::SerdeError)
        .map_err(attempt())?;
    // That of a run that was ended serves as well, unless it is ending.
    let before = known(namespaces.get(name).await).map_err(attempt())?;
    if before.is_some_and(|before| before.metadata.deletion_timestamp.is_some()) {
        end_of(&namespaces, name, patience).await?;
    }
    match namespaces.create(&PostParams::default(), &object).await {
        Err(KubeError::Api(status)) if status.is_already_exists() => {}
        made => drop(made.map_err(attempt())?),
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    let is_there = |account: Option<&ServiceAccount>| account.is_some();
    let there = await_condition(accounts, ACCOUNT, is_there);
    let what = format!("the namespace {name} has the service account {ACCOUNT}");
    in_time(patience, what, there).await
}

/// Waits until a namespace is gone.
async fn end_of(namespaces: &Api<Namespace>, name: &str, patience: Duration) -> Result<(), Error> {
    let is_gone = |namespace: Option<&Namespace>| namespace.is_none();
    let gone = await_condition(namespaces.clone(), name, is_gone);
    in_time(patience, format!("the namespace {name} is gone"), gone).await
}

async fn in_time<T, E>(
    patience: Duration,
    what: String,
    work: impl Future<Output = Result<T, E>>,
) -> Result<(), Error> {
    match tokio::time::timeout(patience, work).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Error::Late { what, patience }),
    }
}

/// Removes a pod without waiting for its node.
async fn remove(pods: &Api<Pod>, name: &str) -> Result<(), KubeError> {
    let now = DeleteParams::default().grace_period(0);
    known(pods.delete(name, &now).await).map(drop)
}

/// What a pod that ended reports.
fn told(pod: &Pod) -> State {
    let statuses = pod.status.as_ref();
    let containers = statuses.and_then(|status| status.container_statuses.as_ref());
    let ended = containers
        .into_iter()
        .flatten()
        .find_map(|container| container.state.as_ref()?.terminated.clone());
    let message = ended.as_ref().and_then(|ended| ended.message.clone());
    let report = message
        .as_ref()
        .and_then(|message| serde_json::from_str(message).ok());
    match (report, ended) {
        (Some(report), Some(ended)) if ended.exit_code == 0 => State::Done(report_text(&report)),
        (_, ended) => {
            let why = message
                .or_else(|| statuses.and_then(|status| status.message.clone()))
                .or_else(|| ended.and_then(|ended| ended.reason))
                .or_else(|| statuses.and_then(|status| status.reason.clone()));
            let why = why.unwrap_or_else(|| "it does not say why".to_owned());
            let name = pod.name_any();
            State::Left(format!("{name} failed on it: {}", why.trim()))
        }
    }
}

fn report_text(report: &Report) -> Option<String> {
    let Report {
        removed: _,
        kept,
        kept_count,
        strangers,
        strangers_count,
    } = report;
    let some = |names: &[String], count: usize| {
        let more = count.saturating_sub(names.len());
        let names = names.join(", ");
        if more > 0 {
            format!("{names} and {more} more")
        } else {
            names
        }
    };
    let mut said = Vec::new();
    if *kept_count > 0 {
        said.push(format!(
            "pods use, and it keeps: {}",
            some(kept, *kept_count)
        ));
    }
    if *strangers_count > 0 {
        let names = some(strangers, *strangers_count);
        said.push(format!("not of the operator, and left in {ROOT}: {names}"));
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// Why a pod has not ended.
fn waiting(late: &Late) -> String {
    let Late { pods, error } = late;
    if let Some(error) = error {
        return error.clone();
    }
    let Some(pod) = pods.values().next() else {
        return "the pod was removed by somebody".to_owned();
    };
    let why = crate::controller::nodes::trouble(pod);
    why.unwrap_or_else(|| "its kubelet has not run the pod".to_owned())
}

/// Some names of pods.
pub(super) fn names(late: &Late) -> String {
    few(late.pods.keys())
}
