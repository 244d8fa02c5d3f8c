//! What is there.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::own::{self, Presence};
use super::plan::Use;
use super::{Error, Options, known, request};
use crate::api::{
    ProfileBinding, ProfileRecording, SecurityProfileNodeStatus, SecurityProfilesOperatorDaemon,
};
use crate::cluster::MANAGER;
use crate::controller::profile::Kind;
use crate::controller::status::DAEMONS;
use crate::controller::usage;
use crate::node::setup::KUBELET;

/// Objects in one answer.
const PAGE: u32 = 500;

/// What is there of an installation.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The operator's namespace.
    pub(super) namespace: String,
    /// Whether pods can be made in it.
    pub(super) is_active: bool,
    /// The operator's Deployment, and how many replicas it wants.
    pub(super) operator: Option<i32>,
    /// The objects with fixed names, by their place in [`own::all`].
    pub(super) own: Vec<Presence>,
    /// Profiles, bindings and recordings.
    pub(super) objects: Vec<Object>,
    /// How many reports of nodes there are.
    pub(super) reports: usize,
    /// Nodes that may have files.
    pub(super) nodes: Vec<OneNode>,
    /// What pods use.
    pub(super) uses: Vec<Use>,
    /// How pods are to run that clean up nodes.
    pub(super) runs: Runs,
}

/// An object that finalizers may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    /// Whether somebody has deleted it.
    pub(super) deleted: bool,
    pub(super) finalizers: Vec<String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OneNode {
    pub(super) name: String,
    pub(super) is_ready: bool,
}

/// How pods are to run that clean up nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Runs {
    /// None if nobody knows it.
    pub(super) image: Option<String>,
    pub(super) pull_policy: Option<String>,
    pub(super) pull_secrets: Value,
    pub(super) kubelet: String,
    /// The `SELinux` type, where one was configured.
    pub(super) selinux: Option<String>,
}

/// The kinds whose objects are removed, besides the reports of nodes.
pub(super) fn kinds() -> Vec<ApiResource> {
    let profiles = Kind::ALL.into_iter().map(Kind::resource);
    let others = [
        ApiResource::erase::<ProfileBinding>(&()),
        ApiResource::erase::<ProfileRecording>(&()),
    ];
    profiles.chain(others).collect()
}

/// Looks at everything. Nothing is changed.
pub async fn observe(client: &Client, options: &Options) -> Result<Seen, Error> {
    let name = &options.namespace;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = known(namespaces.get(name).await);
    let found = found.map_err(request(format!("read the namespace {name}")))?;
    let mut seen = Seen {
        namespace: name.clone(),
        is_active: found.is_some_and(|found| found.metadata.deletion_timestamp.is_none()),
        ..Seen::default()
    };
    for own in own::all() {
        let presence = own.presence(client, name).await;
        let attempt = format!("look at {} {}", own.resource.kind, own.name);
        seen.own.push(presence.map_err(request(attempt))?);
    }
    let configuration: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        name,
        &ApiResource::erase::<SecurityProfilesOperatorDaemon>(&()),
    );
    let configuration = known(configuration.get(DAEMONS).await);
    let configuration = configuration.map_err(request("read the configuration"))?;
    let spec = configuration.map(|object| object.data["spec"].clone());
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), name);
    let operator = known(deployments.get(MANAGER).await);
    let operator = operator.map_err(request("read the operator's Deployment"))?;
    seen.operator = operator.as_ref().map(|found| {
        found
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1)
    });
    seen.runs = runs(operator.as_ref(), &spec.unwrap_or_default(), options);
    for resource in kinds() {
        seen.objects.extend(objects(client, &resource).await?);
    }
    let reports = ApiResource::erase::<SecurityProfileNodeStatus>(&());
    seen.reports = objects(client, &reports).await?.len();
    for node in list::<Node>(Api::all(client.clone()))
        .await
        .map_err(request("list nodes"))?
    {
        let system = node.labels().get("kubernetes.io/os");
        if system.is_none_or(|system| system == "linux") {
            seen.nodes.push(OneNode {
                name: node.name_any(),
                is_ready: is_ready(&node),
            });
        }
    }
    seen.uses = uses(client).await?;
    Ok(seen)
}

/// The objects of a kind; none where the cluster does not know it.
pub(super) async fn objects(client: &Client, resource: &ApiResource) -> Result<Vec<Object>, Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let found = known(list(api).await);
    let found = found.map_err(request(format!(
        "list objects of the kind {}",
        resource.kind
    )))?;
    let objects = found.unwrap_or_default();
    let object = |object: DynamicObject| Object {
        kind: resource.kind.clone(),
        namespace: object.namespace(),
        name: object.name_any(),
        deleted: object.metadata.deletion_timestamp.is_some(),
        finalizers: object.metadata.finalizers.unwrap_or_default(),
    };
    Ok(objects.into_iter().map(object).collect())
}

/// The seccomp profiles of ours that pods name which may still start containers.
pub(super) async fn uses(client: &Client) -> Result<Vec<Use>, Error> {
    let pods = list::<Pod>(Api::all(client.clone()))
        .await
        .map_err(request("list pods"))?;
    let mut uses = Vec::new();
    for pod in pods.iter().filter(|pod| usage::is_active(pod)) {
        let named = usage::named(pod);
        let named = named.into_iter().filter(|named| {
            let mut kinds = named.profiles.iter().map(|profile| profile.kind);
            kinds.any(|kind| kind == Kind::Seccomp)
        });
        let files: BTreeSet<_> = named.map(|named| named.text).collect();
        if !files.is_empty() {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            uses.push(Use {
                pod: format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any()),
                node,
                files: files.into_iter().collect(),
            });
        }
    }
    Ok(uses)
}

async fn list<K>(api: Api<K>) -> Result<Vec<K>, kube::Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut parameters = ListParams::default().limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = api.list(&parameters).await?;
        objects.extend(page.items);
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => parameters.continue_token = Some(next),
            _ => return Ok(objects),
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter());
    conditions
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn runs(operator: Option<&Deployment>, spec: &Value, options: &Options) -> Runs {
    let operator = serde_json::to_value(operator).unwrap_or_default();
    let pod = &operator["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let variables = container["env"].as_array().into_iter().flatten();
    let mut kubelet = variables.filter(|variable| variable["name"] == "KUBELET_DIR");
    let kubelet = kubelet.find_map(|variable| text(&variable["value"]));
    let secrets = [&spec["imagePullSecrets"], &pod["imagePullSecrets"]];
    let secrets = secrets.into_iter().find(|secrets| !secrets.is_null());
    Runs {
        image: options.image.clone().or_else(|| text(&container["image"])),
        pull_policy: text(&container["imagePullPolicy"]).filter(|_| options.image.is_none()),
        pull_secrets: secrets.cloned().unwrap_or_default(),
        kubelet: options
            .kubelet
            .clone()
            .or(kubelet)
            .unwrap_or_else(|| KUBELET.to_owned()),
        selinux: text(&spec["selinux"]["typeTag"]),
    }
}
