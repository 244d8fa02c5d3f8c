//! Asks the API server, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, ListParams};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Client, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::bindings::Bindings;
use super::objects::{Objects, Told, containers};
use super::{Error, Settings};
use crate::api::names::CONFIGURATION;
use crate::api::{ProfileBinding, SeccompProfile, SecurityProfilesOperatorDaemon};
use crate::cluster;
use crate::cluster::error::told;

/// Objects in one answer.
const PAGE: u32 = 500;

/// What the API server says now.
pub(super) async fn ask(settings: &Settings) -> Result<Told, Error> {
    let Settings {
        node,
        namespace: operator,
        folder: _,
        pod,
    } = settings;
    let client = cluster::connect().await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let found = nodes.get_opt(node).await.map_err(list_error("nodes"))?;
    if found.is_none() {
        return Err(Error::Node(node.clone()));
    }
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let mut pods: Vec<Pod> = match pod {
        None => list(Api::all(client.clone()), on_node, "pods").await?,
        Some((namespace, name)) => {
            let on_node = on_node.fields(&format!("spec.nodeName={node},metadata.name={name}"));
            list(Api::namespaced(client.clone(), namespace), on_node, "pods").await?
        }
    };
    if let Some((namespace, name)) = pod
        && pods.is_empty()
    {
        return Err(Error::Pod(format!("{namespace}/{name}")));
    }
    for pod in &mut pods {
        pod.metadata.managed_fields = None;
    }
    let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
    let containers = containers(&pods);
    let mut named = containers.iter().map(|(_, one)| one.given.profile());
    let profiles = if named.any(|name| name.is_some()) {
        profiles(&client).await?
    } else {
        Objects::new()
    };
    let bindings = match bindings(&client, operator).await {
        Ok(bindings) => bindings,
        Err(error) => Err(format!("which bindings there are: {error}")),
    };
    Ok(Told {
        pods,
        profiles,
        bindings,
    })
}

async fn profiles(client: &Client) -> Result<Objects, Error> {
    let api: Api<DeserializeGuard<SeccompProfile>> = Api::all(client.clone());
    let all = list(api, ListParams::default(), "seccomp profiles").await?;
    let named = |object: DeserializeGuard<SeccompProfile>| (object.name_any(), Arc::new(object));
    Ok(all.into_iter().map(named).collect())
}

/// The bindings, and what else says whom they are for; an error's text if the API server does not tell.
async fn bindings(client: &Client, operator: &str) -> Result<Result<Bindings, String>, String> {
    let failed = |error: Error| match error {
        Error::List { what, source } => format!("cannot list {what}: {}", told(&source)),
        other => other.to_string(),
    };
    let bindings: Api<DeserializeGuard<ProfileBinding>> = Api::all(client.clone());
    let bindings = match list(bindings, ListParams::default(), "profile bindings").await {
        // A cluster that does not know the kind has none.
        Err(Error::List { source, .. }) if is_not_found(&source) => Vec::new(),
        bindings => bindings.map_err(failed)?,
    };
    let mut namespaces = BTreeMap::new();
    let mut configuration = Vec::new();
    if !bindings.is_empty() {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
        let all = list(api, ListParams::default(), "namespaces").await;
        let labels = |namespace: PartialObjectMeta<Namespace>| {
            let labels = namespace.metadata.labels.clone();
            (namespace.name_any(), labels.unwrap_or_default())
        };
        namespaces = all.map_err(failed)?.into_iter().map(labels).collect();
        let api: Api<DeserializeGuard<SecurityProfilesOperatorDaemon>> =
            Api::namespaced(client.clone(), operator);
        let own = ListParams::default().fields(&format!("metadata.name={CONFIGURATION}"));
        configuration = list(api, own, "the configuration").await.map_err(failed)?;
    }
    let bindings = bindings.into_iter().map(Arc::new).collect();
    Ok(Bindings::new(
        bindings,
        namespaces,
        operator,
        configuration.first(),
    ))
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// All objects, in pages.
async fn list<T>(api: Api<T>, parameters: ListParams, what: &'static str) -> Result<Vec<T>, Error>
where
    T: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut parameters = parameters.limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = api.list(&parameters).await.map_err(list_error(what))?;
        objects.extend(page.items);
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => parameters.continue_token = Some(next),
            _ => return Ok(objects),
        }
    }
}

fn list_error(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error::List {
        what,
        source: Box::new(source),
    }
}
