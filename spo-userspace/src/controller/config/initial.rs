//! The configuration that a cluster has until somebody says otherwise.

use serde_json::{Value, json};

use crate::cluster::MANAGER;
use crate::controller::status::DAEMONS;

/// The object, as the reference makes it.
pub(super) fn configuration(namespace: &str) -> Value {
    let everywhere =
        |key: &str, effect: &str| json!({ "key": key, "operator": "Exists", "effect": effect });
    json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "SecurityProfilesOperatorDaemon",
        "metadata": {
            "name": DAEMONS,
            "namespace": namespace,
            "labels": { "app": MANAGER },
        },
        "spec": {
            "hostProcVolumePath": "/proc",
            "selinux": { "options": { "allowedSystemProfiles": ["container"] } },
            "enricher": { "logEnricherSource": "Auditd" },
            "scheduling": {
                "priorityClassName": "system-node-critical",
                "tolerations": [
                    everywhere("node-role.kubernetes.io/master", "NoSchedule"),
                    everywhere("node-role.kubernetes.io/control-plane", "NoSchedule"),
                    everywhere("node.kubernetes.io/not-ready", "NoExecute"),
                ],
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;
    use crate::api::SecurityProfilesOperatorDaemon;

    #[test]
    fn it_is_one_that_check_finds_nothing_wrong_with() {
        let object = configuration("security-profiles-operator");
        let found = api::check("spod.yaml", object.to_string().as_bytes());
        assert!(found.is_empty(), "{found:?}");
        let typed: SecurityProfilesOperatorDaemon = serde_json::from_value(object).unwrap();
        assert_eq!(typed.spec.scheduling.unwrap().tolerations.len(), 3);
    }
}
