//! Which profile a pod gives to each of its containers. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, SeccompProfile, SecurityContext};

use crate::api::pods::{SECCOMP_CONTAINER, SECCOMP_POD, SeccompFile};

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) name: String,
    /// The runtime's id.
    pub(super) id: String,
    /// As the pod writes it.
    pub(super) image: String,
    pub(super) given: Given,
}

/// What a pod gives to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// A profile of ours.
    Ours(String),
    /// Another file of the node.
    Foreign(String),
    /// What the runtime has for all.
    RuntimeDefault,
    /// No filter.
    Unconfined,
    /// Nothing is said: what the kubelet has for that.
    Nothing,
    /// Runtimes give no filter to privileged containers, whatever is said.
    Privileged,
}

impl Given {
    /// The profile of ours.
    pub(super) fn profile(&self) -> Option<&str> {
        match self {
            Self::Ours(name) => Some(name),
            _ => None,
        }
    }

    fn of_field(profile: &SeccompProfile) -> Self {
        match (profile.type_.as_str(), &profile.localhost_profile) {
            ("Localhost", Some(path)) => Self::of_path(path),
            ("RuntimeDefault", _) => Self::RuntimeDefault,
            _ => Self::Unconfined,
        }
    }

    fn of_annotation(value: &str) -> Self {
        match value.strip_prefix("localhost/") {
            Some(path) => Self::of_path(path),
            None if ["runtime/default", "docker/default"].contains(&value) => Self::RuntimeDefault,
            None => Self::Unconfined,
        }
    }

    fn of_path(path: &str) -> Self {
        match SeccompFile::of(path) {
            Some(file) if !file.is_old => Self::Ours(file.name.to_owned()),
            _ => Self::Foreign(path.to_owned()),
        }
    }
}

/// The containers of a pod that run, as its status says.
pub(super) fn running(pod: &Pod) -> Vec<Running> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let usual = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let usual = usual.map(|one| (&one.name, &one.image, one.security_context.as_ref()));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|one| (&one.name, &one.image, one.security_context.as_ref()));
    usual
        .chain(ephemeral)
        .filter_map(|(name, image, context)| {
            let status = statuses(pod).find(|status| status.name == *name)?;
            status.state.as_ref()?.running.as_ref()?;
            let id = status.container_id.as_ref()?;
            Some(Running {
                name: name.clone(),
                id: id
                    .split_once("://")
                    .map_or(id.as_str(), |(_, id)| id)
                    .to_owned(),
                image: image.clone().unwrap_or_default(),
                given: given(pod, name, context),
            })
        })
        .collect()
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let lists = pod.status.iter().flat_map(|status| {
        [
            &status.init_container_statuses,
            &status.container_statuses,
            &status.ephemeral_container_statuses,
        ]
    });
    lists.flat_map(|list| list.iter().flatten())
}

/// In the order in which kubelets ask (`getSeccompProfile` in `pkg/kubelet/kuberuntime/helpers.go`; those from 1.27 on know no
/// annotations, which the API server keeps the same as the fields before).
fn given(pod: &Pod, container: &str, context: Option<&SecurityContext>) -> Given {
    if context.and_then(|context| context.privileged) == Some(true) {
        return Given::Privileged;
    }
    let of_pod = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let field = context.and_then(|context| context.seccomp_profile.as_ref());
    let field_of_pod = of_pod.and_then(|context| context.seccomp_profile.as_ref());
    let annotation = |key: &str| pod.metadata.annotations.as_ref()?.get(key);
    field
        .map(Given::of_field)
        .or_else(|| {
            let key = format!("{SECCOMP_CONTAINER}{container}");
            annotation(&key).map(|value| Given::of_annotation(value))
        })
        .or_else(|| field_of_pod.map(Given::of_field))
        .or_else(|| annotation(SECCOMP_POD).map(|value| Given::of_annotation(value)))
        .unwrap_or(Given::Nothing)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn localhost(path: &str) -> Value {
        json!({ "type": "Localhost", "localhostProfile": path })
    }

    fn all(pod: &Value) -> Vec<(String, Given)> {
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        let running = running(&pod).into_iter();
        running.map(|one| (one.name, one.given)).collect()
    }

    fn ours(name: &str) -> Given {
        Given::Ours(name.to_owned())
    }

    fn status(name: &str, state: &Value) -> Value {
        json!({
            "name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": format!("containerd://{name}"), "state": state,
        })
    }

    #[test]
    fn the_container_decides_and_then_the_pod() {
        let running = json!({ "running": {} });
        let pod = json!({
            "metadata": { "annotations": {
                "container.seccomp.security.alpha.kubernetes.io/noted": "localhost/operator/noted.json",
                "seccomp.security.alpha.kubernetes.io/pod": "runtime/default",
            } },
            "spec": {
                "securityContext": { "seccompProfile": localhost("operator/pod.json") },
                "containers": [
                    { "name": "own", "securityContext": { "seccompProfile": localhost("operator//own.json") } },
                    { "name": "noted" },
                    { "name": "plain" },
                    { "name": "default", "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } } },
                    { "name": "free", "securityContext": { "seccompProfile": { "type": "Unconfined" } } },
                    { "name": "other", "securityContext": { "seccompProfile": localhost("audit.json") } },
                    { "name": "old", "securityContext": { "seccompProfile": localhost("operator/ns/a.json") } },
                    { "name": "root", "securityContext": { "privileged": true, "seccompProfile": localhost("operator/own.json") } },
                    { "name": "ended" },
                ],
                "ephemeralContainers": [{ "name": "debug" }],
            },
            "status": {
                "containerStatuses": [
                    status("own", &running), status("noted", &running), status("plain", &running),
                    status("default", &running), status("free", &running), status("other", &running),
                    status("old", &running), status("root", &running),
                    status("ended", &json!({ "terminated": { "exitCode": 0 } })),
                ],
                "ephemeralContainerStatuses": [status("debug", &running)],
            },
        });
        let foreign = |path: &str| Given::Foreign(path.to_owned());
        let expected = [
            ("own", ours("own")),
            ("noted", ours("noted")),
            ("plain", ours("pod")),
            ("default", Given::RuntimeDefault),
            ("free", Given::Unconfined),
            ("other", foreign("audit.json")),
            ("old", foreign("operator/ns/a.json")),
            ("root", Given::Privileged),
            ("debug", ours("pod")),
        ];
        assert_eq!(
            all(&pod),
            expected.map(|(name, given)| (name.to_owned(), given))
        );
    }

    #[test]
    fn old_annotations_count_where_there_is_no_field() {
        for (value, expected) in [
            ("localhost/operator/a.json", ours("a")),
            ("runtime/default", Given::RuntimeDefault),
            ("unconfined", Given::Unconfined),
        ] {
            let pod = json!({
                "metadata": { "annotations": { "seccomp.security.alpha.kubernetes.io/pod": value } },
                "spec": { "containers": [{ "name": "c" }] },
                "status": { "containerStatuses": [status("c", &json!({ "running": {} }))] },
            });
            assert_eq!(all(&pod), [("c".to_owned(), expected)]);
        }
        let pod = json!({
            "spec": { "containers": [{ "name": "c" }] },
            "status": { "containerStatuses": [status("c", &json!({ "running": {} }))] },
        });
        assert_eq!(all(&pod), [("c".to_owned(), Given::Nothing)]);
    }
}
