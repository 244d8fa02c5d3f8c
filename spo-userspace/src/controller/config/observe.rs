//! What is known, from the stores.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt as _};
use serde_json::json;

use super::Context;
use super::apply::version;
use super::plan::{Daemons, Replicas, Unready, Version};
use super::render::{Key, OPERATOR, Own, Settings, WEBHOOK, key};
use super::watches::Stores;
use crate::api::SecurityProfilesOperatorDaemon;
use crate::controller::nodes;
use crate::controller::status::DAEMONS;

/// The settings; nothing while the operator's own Deployment is not known.
pub(super) fn settings(
    context: &Context,
    stores: &Stores,
    configuration: &SecurityProfilesOperatorDaemon,
) -> Option<Settings> {
    let own = own(&*deployment(&context.namespace, stores, OPERATOR)?)?;
    Some(Settings {
        namespace: context.namespace.clone(),
        kubelet: context.kubelet.trim_end_matches('/').to_owned(),
        uid: configuration.uid().unwrap_or_default(),
        spec: configuration.spec.clone(),
        own,
        webhook: context.webhook,
        monitors: !stores.definitions.is_empty(),
    })
}

fn deployment(namespace: &str, stores: &Stores, name: &str) -> Option<std::sync::Arc<Deployment>> {
    let reference = ObjectRef::new(name).within(namespace);
    stores.deployments.get(&reference)
}

fn own(deployment: &Deployment) -> Option<Own> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let container = pod.containers.first()?;
    Some(Own {
        image: container.image.clone()?,
        pull_policy: container.image_pull_policy.clone(),
        pull_secrets: json!(pod.image_pull_secrets),
        tolerations: json!(pod.tolerations),
        node_selector: json!(pod.node_selector),
    })
}

/// The objects of which changes are told.
pub(super) fn live(stores: &Stores) -> BTreeMap<Key, Version> {
    let mut live = BTreeMap::new();
    add(&stores.daemons, &mut live);
    add(&stores.deployments, &mut live);
    add(&stores.services, &mut live);
    live
}

fn add<K>(store: &Store<K>, live: &mut BTreeMap<Key, Version>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    for object in store.state() {
        live.insert(key(&K::kind(&()), &object.name_any()), version(&*object));
    }
}

/// How the daemons stand; nothing while there are none.
pub(super) fn daemons(stores: &Stores) -> Option<Daemons> {
    let daemons: std::sync::Arc<DaemonSet> = stores.daemons.state().into_iter().next()?;
    let status = daemons.status.clone().unwrap_or_default();
    Some(Daemons {
        generation: daemons.metadata.generation.unwrap_or_default(),
        observed: status.observed_generation.unwrap_or_default(),
        desired: status.desired_number_scheduled,
        updated: status.updated_number_scheduled.unwrap_or_default(),
        ready: status.number_ready,
    })
}

/// How the webhook of a namespace stands, where the operator manages it.
pub(super) fn webhook(namespace: &str, stores: &Stores) -> Option<Replicas> {
    let webhook = deployment(namespace, stores, WEBHOOK)?;
    let status = webhook.status.as_ref()?;
    Some(Replicas {
        available: status.available_replicas.unwrap_or(0),
        wanted: webhook.spec.as_ref()?.replicas.unwrap_or(1),
    })
}

/// The nodes whose daemons are not ready.
pub(super) fn unready(pods: &Store<Pod>) -> Vec<Unready> {
    let pods = pods.state();
    let pods = pods.iter().filter(|pod| !nodes::is_ready(pod));
    let mut unready: Vec<_> = pods
        .map(|pod| Unready {
            node: nodes::node_of(pod).unwrap_or("no node").to_owned(),
            why: nodes::trouble(pod),
        })
        .collect();
    unready.sort_by(|a, b| a.node.cmp(&b.node));
    unready
}

/// The configuration; nothing if there is none.
pub(super) fn configuration(
    context: &Context,
    stores: &Stores,
) -> Option<std::sync::Arc<super::watches::Guarded>> {
    let reference = ObjectRef::new(DAEMONS).within(&context.namespace);
    stores.configurations.get(&reference)
}
