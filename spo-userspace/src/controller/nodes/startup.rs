//! The taint of new nodes, which keeps pods away until the node's daemon is ready: it has looked at all
//! profiles by then.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, Error, ResourceExt as _};
use serde_json::json;

use super::{is_ready, node_of};
use crate::api::names::STARTUP_TAINT;
use crate::cluster::MANAGER;

/// The daemons whose node was looked at since they were ready, by the pods' identity.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashSet<String>>);

impl Seen {
    /// Takes the taint away from the node of a daemon that is ready. Whether there was one.
    pub(super) async fn settle(&self, client: &Client, pod: &Pod) -> Result<bool, Error> {
        let (Some(node), Some(uid)) = (node_of(pod), pod.uid()) else {
            return Ok(false);
        };
        if !is_ready(pod) || self.has(&uid) {
            return Ok(false);
        }
        // As a list, for which the right is there already.
        let one = ListParams::default().fields(&format!("metadata.name={node}"));
        let nodes: Api<Node> = Api::all(client.clone());
        let found = nodes.list(&one).await?.items.pop();
        let mut taken = false;
        if let Some((found, rest)) = found.and_then(|node| {
            let rest = without(&node)?;
            Some((node, rest))
        }) {
            let metadata = json!({ "resourceVersion": found.resource_version() });
            let patch = Patch::Merge(json!({ "metadata": metadata, "spec": { "taints": rest } }));
            let parameters = PatchParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PatchParams::default()
            };
            nodes.patch(node, &parameters, &patch).await?;
            taken = true;
        }
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid);
        Ok(taken)
    }

    fn has(&self, uid: &str) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.contains(uid)
    }

    /// The daemon is gone.
    pub(super) fn forget(&self, pod: &Pod) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(uid) = pod.uid() {
            seen.remove(&uid);
        }
    }
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
            let node = serde_json::from_value(json!({ "spec": { "taints": taints } })).unwrap();
            let left = without(&node)?;
            Some(left.into_iter().map(|taint| taint.key).collect::<Vec<_>>())
        };
        assert_eq!(left(&[]), None);
        assert_eq!(left(&["a"]), None);
        assert_eq!(left(&["a", STARTUP_TAINT]), Some(vec!["a".to_owned()]));
        assert_eq!(left(&[STARTUP_TAINT]), Some(Vec::new()));
        assert_eq!(without(&Node::default()), None);
    }
}
