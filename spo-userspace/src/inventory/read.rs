//! Reads it from the API server.

use std::collections::BTreeMap;

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::Value;
use thiserror::Error;

use super::{Entry, OnNode};
use crate::api::{
    AppArmorProfile, RawSelinuxProfile, SeccompProfile, SecurityProfileNodeStatus, SelinuxProfile,
};
use crate::cluster::{self, ConnectError};

/// Objects in one answer.
const PAGE: u32 = 500;

/// Why nothing is known.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no cluster.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server did not answer, or not with objects.
    #[error("cannot list objects of the kind {kind}")]
    List {
        /// Their kind.
        kind: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The server does not know a kind.
    #[error(
        "the cluster does not know the kind {kind}: is the operator installed there? (kubectl apply -k deploy/base)"
    )]
    Unknown {
        /// The kind.
        kind: String,
    },
}

/// All profiles of the cluster that this runs in, or that `KUBECONFIG` names; sorted by kind and
/// name.
pub async fn read() -> Result<Vec<Entry>, Error> {
    let client = cluster::connect().await?;
    let mut entries = BTreeMap::new();
    for resource in [
        ApiResource::erase::<SeccompProfile>(&()),
        ApiResource::erase::<SelinuxProfile>(&()),
        ApiResource::erase::<RawSelinuxProfile>(&()),
        ApiResource::erase::<AppArmorProfile>(&()),
    ] {
        for object in list(&client, &resource).await? {
            let entry = profile(&resource.kind, &object);
            entries.insert((entry.kind.clone(), entry.name.clone()), entry);
        }
    }
    let resource = ApiResource::erase::<SecurityProfileNodeStatus>(&());
    for object in list(&client, &resource).await? {
        for owner in object.owner_references() {
            let key = (owner.kind.clone(), owner.name.clone());
            if let Some(entry) = entries.get_mut(&key) {
                let (node, report) = on_node(&object);
                entry.nodes.insert(node, report);
            }
        }
    }
    Ok(entries.into_values().collect())
}

async fn list(client: &Client, resource: &ApiResource) -> Result<Vec<DynamicObject>, Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let mut parameters = ListParams::default().limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let kind = resource.kind.clone();
        let page = match api.list(&parameters).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Err(Error::Unknown { kind });
            }
            Err(source) => {
                let source = Box::new(source);
                return Err(Error::List { kind, source });
            }
        };
        objects.extend(page.items);
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => parameters.continue_token = Some(next),
            _ => return Ok(objects),
        }
    }
}

fn profile(kind: &str, object: &DynamicObject) -> Entry {
    let status = &object.data["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let ready = conditions
        .into_iter()
        .find(|condition| condition["type"] == "Ready");
    let number = |field: &str| {
        let number = status["nodes"][field].as_u64()?;
        u32::try_from(number).ok()
    };
    let mut pods: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in status["activeWorkloads"].as_array().into_iter().flatten() {
        if let Some((namespace, pod)) = pod.as_str().and_then(|pod| pod.split_once('/')) {
            pods.entry(namespace.to_owned())
                .or_default()
                .push(pod.to_owned());
        }
    }
    Entry {
        kind: kind.to_owned(),
        name: object.name_any(),
        status: text(&status["status"]),
        message: ready.and_then(|ready| text(&ready["message"])),
        ready: number("ready"),
        desired: number("desired"),
        nodes: BTreeMap::new(),
        pods,
    }
}

fn on_node(object: &DynamicObject) -> (String, OnNode) {
    let status = &object.data["status"];
    let node = text(&object.data["spec"]["nodeName"]).unwrap_or_else(|| object.name_any());
    let report = OnNode {
        status: text(&status["status"]),
        reason: text(&status["reason"]),
        message: text(&status["message"]),
        digest: text(&status["digest"]),
        since: text(&status["since"]),
    };
    (node, report)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
