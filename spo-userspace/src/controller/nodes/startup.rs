//! The taint of new nodes, which keeps pods away until the node's daemon is ready: it has looked at all
//! profiles by then.

use k8s_openapi::api::core::v1::{Node, NodeSpec, Pod, Taint};
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Error};
use serde_json::json;

use super::node_of;
use crate::api::names::STARTUP_TAINT;
use crate::cluster::MANAGER;

/// The daemon's container. Others of its pod may have trouble of their own.
const DAEMON: &str = "security-profiles-operator";

/// Takes the taint away from a node whose daemon is ready. Whether there was one.
pub(super) async fn admit(
    client: &Client,
    nodes: &Store<Node>,
    pods: &Store<Pod>,
    name: &str,
) -> Result<bool, Error> {
    let Some(node) = nodes.get(&ObjectRef::new(name)) else {
        return Ok(false);
    };
    let pods = pods.state();
    let mut own = pods.iter().filter(|pod| node_of(pod) == Some(name));
    let Some(rest) = without(&node).filter(|_| own.any(|pod| is_ready(pod))) else {
        return Ok(false);
    };
    // Somebody may have changed the others, and a node of this name may be another one by now.
    let metadata = json!({
        "resourceVersion": node.metadata.resource_version,
        "uid": node.metadata.uid,
    });
    let patch = Patch::Merge(json!({ "metadata": metadata, "spec": { "taints": rest } }));
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.patch(name, &parameters, &patch).await?;
    Ok(true)
}

/// Removes what nobody here reads. Only nodes that have the taint are of interest.
pub(super) fn trim(node: &mut Node) -> bool {
    let meta = std::mem::take(&mut node.metadata);
    let spec = node.spec.take().unwrap_or_default();
    *node = Node {
        metadata: ObjectMeta {
            name: meta.name,
            uid: meta.uid,
            resource_version: meta.resource_version,
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: spec.taints,
            ..NodeSpec::default()
        }),
        status: None,
    };
    without(node).is_some()
}

/// Whether the daemon of a pod is ready.
fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let mut containers = containers.into_iter().flatten();
    let ready = containers.any(|container| container.name == DAEMON && container.ready);
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// The node's other taints, if it has ours.
fn without(node: &Node) -> Option<Vec<Taint>> {
    let taints = node.spec.as_ref()?.taints.as_ref()?;
    let others = taints.iter().filter(|taint| taint.key != STARTUP_TAINT);
    let others: Vec<_> = others.cloned().collect();
    (others.len() != taints.len()).then_some(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_taint_goes() {
        let left = |keys: &[&str]| {
            let taints: Vec<_> = keys
                .iter()
                .map(|key| json!({ "key": key, "effect": "NoSchedule" }))
                .collect();
            let node = json!({ "metadata": { "name": "a" }, "spec": { "taints": taints } });
            let mut node: Node = serde_json::from_value(node).unwrap();
            let left = without(&node);
            assert_eq!(trim(&mut node), left.is_some());
            assert_eq!(without(&node), left, "what is left out does not matter");
            Some(left?.into_iter().map(|taint| taint.key).collect::<Vec<_>>())
        };
        assert_eq!(left(&[]), None);
        assert_eq!(left(&["a"]), None);
        assert_eq!(left(&["a", STARTUP_TAINT]), Some(vec!["a".to_owned()]));
        assert_eq!(left(&[STARTUP_TAINT]), Some(Vec::new()));
        assert_eq!(without(&Node::default()), None);
    }

    #[test]
    fn the_daemon_counts_and_not_what_is_beside_it() {
        let ready = |daemon: bool, beside: bool| {
            let containers = json!([
                { "name": "bpf-recorder", "ready": beside, "image": "", "imageID": "", "restartCount": 0 },
                { "name": DAEMON, "ready": daemon, "image": "", "imageID": "", "restartCount": 0 },
            ]);
            let pod = json!({ "status": { "containerStatuses": containers } });
            is_ready(&serde_json::from_value(pod).unwrap())
        };
        assert!(ready(true, false));
        assert!(!ready(false, true));
        assert!(!is_ready(&Pod::default()));
    }
}
