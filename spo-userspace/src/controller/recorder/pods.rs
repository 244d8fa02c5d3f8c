//! A pod, as the recorder has to know it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, EphemeralContainer, LifecycleHandler, Pod, PodStatus, Probe,
    SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};

use crate::api::ProfileRecordingSpec;
use crate::api::common::ProfileKind;
use crate::api::marks::{Mark, annotation};
use crate::api::names::{ENABLE_RECORDING, LOG_PROFILE, localhost_profile};
use crate::api::profile_recording::Recorder;
use crate::recorder::cluster::{self, PodContainer};

/// On the copy of a pod that the kubelet has from a file: the kubelet's id of the pod.
const STATIC: &str = "kubernetes.io/config.mirror";
/// Why a container is said to have ended that never ran.
const NEVER_RAN: [&str; 2] = ["StartError", "ContainerCannotRun"];

/// Removes what nobody here reads. With `labelled`, that is nearly all of pods without a label of their
/// own: of them it has to be known only that nobody records them.
pub(super) fn trim(pod: &mut Pod, labelled: bool) {
    if labelled && !is_labelled(pod) {
        pod.spec = None;
        pod.status = pod.status.take().map(|status| PodStatus {
            phase: status.phase,
            ..PodStatus::default()
        });
    }
    let Some(spec) = &mut pod.spec else {
        return;
    };
    let short = |container: &mut Container| {
        *container = Container {
            name: std::mem::take(&mut container.name),
            liveness_probe: container.liveness_probe.take(),
            readiness_probe: container.readiness_probe.take(),
            startup_probe: container.startup_probe.take(),
            lifecycle: container.lifecycle.take(),
            security_context: container.security_context.take(),
            ..Container::default()
        };
    };
    spec.containers.iter_mut().for_each(short);
    spec.init_containers.iter_mut().flatten().for_each(short);
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        *container = EphemeralContainer {
            name: std::mem::take(&mut container.name),
            security_context: container.security_context.take(),
            ..EphemeralContainer::default()
        };
    }
    spec.volumes = None;
    spec.affinity = None;
    spec.tolerations = None;
}

/// Whether a pod has the label that is asked for where memory is to be saved.
pub(super) fn is_labelled(pod: &Pod) -> bool {
    pod.labels().get(ENABLE_RECORDING).map(String::as_str) == Some("true")
}

/// Whether a recording is one of those that a recorder does.
pub(super) fn is_of(recorder: Recorder, spec: &ProfileRecordingSpec) -> bool {
    (spec.kind, spec.recorder) == (ProfileKind::SeccompProfile, recorder)
}

/// A recording, as far as it says which pods it has.
pub(super) struct Selecting {
    pub(super) name: String,
    pub(super) spec: ProfileRecordingSpec,
}

/// The pod with those of a recorder's recordings of its namespace that select it, or that its
/// annotations name.
pub(super) fn known(pod: &Pod, recordings: &[Selecting], recorder: Recorder) -> cluster::Pod {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let containers = containers(pod);
    let recordings = recordings
        .iter()
        .filter(|Selecting { name, spec }| {
            is_of(recorder, spec)
                && (is_selected(pod, spec) || is_marked(pod, &containers, name, recorder))
        })
        .map(|one| one.name.clone())
        .collect();
    cluster::Pod {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        generate_name: pod.metadata.generate_name.clone(),
        uid: pod.uid().unwrap_or_default(),
        static_hash: pod.annotations().get(STATIC).cloned(),
        recordings,
        containers,
        ended: matches!(phase, Some("Succeeded" | "Failed")),
    }
}

fn is_selected(pod: &Pod, spec: &ProfileRecordingSpec) -> bool {
    // The API server takes no selector that cannot be read.
    Selector::try_from(spec.pod_selector.clone())
        .is_ok_and(|selector| selector.matches(pod.labels()))
}

/// Whether an annotation was set for a recording, when the labels were others perhaps.
fn is_marked(pod: &Pod, containers: &[PodContainer], recording: &str, recorder: Recorder) -> bool {
    containers.iter().any(|container| {
        let key = annotation(ProfileKind::SeccompProfile, recorder, &container.name);
        let value = key.and_then(|key| pod.annotations().get(&key));
        value.is_some_and(|value| {
            let mut marks = Mark::all(value).into_iter();
            marks.any(|mark| mark.recording == recording && mark.container == container.name)
        })
    })
}

/// When a container began and whether it has ended, as its pod's status tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// In seconds since 1970.
    pub began: Option<u64>,
    /// Whether it runs no more.
    pub ended: bool,
}

/// The lives of a pod's containers, by the runtime's ids.
pub(super) fn lives(pod: &Pod) -> BTreeMap<String, Life> {
    let mut lives = BTreeMap::new();
    for status in statuses(pod) {
        let both = [status.last_state.as_ref(), status.state.as_ref()];
        for state in both.into_iter().flatten() {
            let (id, began, ended) = if let Some(state) = &state.terminated {
                (&state.container_id, &state.started_at, true)
            } else if let Some(state) = &state.running {
                (&status.container_id, &state.started_at, false)
            } else {
                continue;
            };
            if let Some(id) = id {
                let began = seconds(began.as_ref());
                lives.insert(without_runtime(id), Life { began, ended });
            }
        }
    }
    lives
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

fn is_running(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    state.is_some_and(|state| state.running.is_some())
}

fn containers(pod: &Pod) -> Vec<PodContainer> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let statuses: BTreeMap<&str, &ContainerStatus> = statuses(pod)
        .map(|status| (status.name.as_str(), status))
        .collect();
    let all = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    let all = all.map(|one| (one.name.as_str(), commands(one), &one.security_context));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|one| (one.name.as_str(), Vec::new(), &one.security_context));
    let whole = spec.security_context.as_ref();
    let whole = whole.and_then(|context| context.seccomp_profile.as_ref());
    all.chain(ephemeral)
        .map(|(name, commands, context)| {
            let status = statuses.get(name).copied();
            let ids = status.map(ids).unwrap_or_default();
            let runtime = ids.iter().find_map(|id| id.split_once("://"));
            PodContainer {
                name: name.to_owned(),
                began: status.and_then(began),
                runtime: runtime.map(|(runtime, _)| runtime.to_owned()),
                image: status
                    .map(|status| status.image_id.clone())
                    .filter(|image| !image.is_empty()),
                ids: ids.iter().map(|id| without_runtime(id)).collect(),
                commands,
                privileged: is_privileged(context.as_ref()),
                logged: is_logged(context.as_ref(), whole),
            }
        })
        .collect()
}

/// Whether the profile that logs all calls holds a container.
fn is_logged(context: Option<&SecurityContext>, of_pod: Option<&SeccompProfile>) -> bool {
    let own = context.and_then(|context| context.seccomp_profile.as_ref());
    let path = own
        .or(of_pod)
        .and_then(|profile| profile.localhost_profile.as_deref());
    path == Some(&localhost_profile(LOG_PROFILE)) && !is_privileged(context)
}

fn is_privileged(context: Option<&SecurityContext>) -> bool {
    context.and_then(|context| context.privileged) == Some(true)
}

fn without_runtime(id: &str) -> String {
    id.split_once("://").map_or(id, |(_, id)| id).to_owned()
}

/// The containers that the status tells of and that ran: the last two of each name.
fn ids(status: &ContainerStatus) -> BTreeSet<String> {
    let both = [status.last_state.as_ref(), status.state.as_ref()];
    let mut ids: BTreeSet<_> = both
        .into_iter()
        .flatten()
        .filter_map(|state| state.terminated.as_ref())
        .filter(|ended| !NEVER_RAN.contains(&ended.reason.as_deref().unwrap_or_default()))
        .filter_map(|ended| ended.container_id.clone())
        .collect();
    if is_running(status) {
        ids.extend(status.container_id.clone());
    }
    ids.retain(|id| !id.is_empty());
    ids
}

/// When a container began, the last time.
fn began(status: &ContainerStatus) -> Option<u64> {
    let both = [status.last_state.as_ref(), status.state.as_ref()];
    let began = both.into_iter().flatten().filter_map(|state| {
        let running = state.running.as_ref().map(|state| &state.started_at);
        let ended = state.terminated.as_ref().map(|state| &state.started_at);
        seconds(running.or(ended)?.as_ref())
    });
    began.max()
}

fn seconds(time: Option<&Time>) -> Option<u64> {
    u64::try_from(time?.0.as_second()).ok()
}

/// The commands that the kubelet executes in a container.
fn commands(container: &Container) -> Vec<Vec<String>> {
    let Container {
        liveness_probe,
        readiness_probe,
        startup_probe,
        lifecycle,
        ..
    } = container;
    let probe = |probe: &Option<Probe>| probe.as_ref()?.exec.as_ref()?.command.clone();
    let hook = |hook: &Option<LifecycleHandler>| hook.as_ref()?.exec.as_ref()?.command.clone();
    let hooks = lifecycle
        .iter()
        .flat_map(|lifecycle| [hook(&lifecycle.post_start), hook(&lifecycle.pre_stop)]);
    [liveness_probe, readiness_probe, startup_probe]
        .map(probe)
        .into_iter()
        .chain(hooks)
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(value: Value) -> Pod {
        let mut pod: Pod = serde_json::from_value(value).unwrap();
        trim(&mut pod, false);
        pod
    }

    fn recordings(kind: &str, recorder: &str) -> Vec<Selecting> {
        let spec = json!({
            "kind": kind, "recorder": recorder, "podSelector": { "matchLabels": { "app": "web" } },
        });
        vec![Selecting {
            name: "web".to_owned(),
            spec: serde_json::from_value(spec).unwrap(),
        }]
    }

    #[test]
    fn of_pods_without_the_label_that_saves_memory_next_to_nothing_is_kept() {
        for (labels, kept) in [
            (json!({ "app": "web" }), false),
            (json!({ "spo.x-k8s.io/enable-recording": "" }), false),
            (json!({ "spo.x-k8s.io/enable-recording": "true" }), true),
        ] {
            let pod = json!({
                "metadata": { "name": "web", "uid": "u", "labels": labels },
                "spec": { "containers": [{ "name": "app" }] },
                "status": { "phase": "Failed", "hostIP": "10.0.0.1" },
            });
            let mut pod: Pod = serde_json::from_value(pod).unwrap();
            trim(&mut pod, true);
            assert_eq!(is_labelled(&pod), kept);
            assert_eq!(pod.spec.is_some(), kept);
            let status = pod.status.clone().unwrap();
            assert_eq!(status.host_ip.is_some(), kept);
            assert!(known(&pod, &[], Recorder::Bpf).ended);
        }
    }

    #[test]
    fn all_containers_that_ran_are_known_and_those_that_did_not_are_not() {
        let known = known(
            &pod(json!({
                "metadata": {
                    "name": "web-x", "namespace": "shop", "uid": "u1", "generateName": "web-",
                    "annotations": { "kubernetes.io/config.mirror": "hash" },
                },
                "spec": {
                    "initContainers": [{ "name": "init" }],
                    "containers": [
                        {
                            "name": "app",
                            "readinessProbe": { "exec": { "command": ["cat", "/ready"] } },
                            "livenessProbe": { "httpGet": { "port": 80 } },
                            "lifecycle": { "preStop": { "exec": { "command": ["bye"] } } },
                        },
                        { "name": "broken" },
                        { "name": "new", "securityContext": { "privileged": true } },
                    ],
                    "ephemeralContainers": [{ "name": "debug" }],
                },
                "status": {
                    "phase": "Running",
                    "initContainerStatuses": [{
                        "name": "init", "imageID": "sha256:1", "image": "a", "ready": true, "restartCount": 0,
                        "containerID": "containerd://i1",
                        "state": { "terminated": { "exitCode": 0, "containerID": "containerd://i1", "reason": "Completed" } },
                    }],
                    "containerStatuses": [
                        {
                            "name": "app", "imageID": "", "image": "a", "ready": true, "restartCount": 1,
                            "containerID": "cri-o://a2",
                            "state": { "running": {} },
                            "lastState": { "terminated": { "exitCode": 1, "containerID": "cri-o://a1", "reason": "Error" } },
                        },
                        {
                            "name": "broken", "imageID": "", "image": "a", "ready": false, "restartCount": 0,
                            "containerID": "containerd://b1",
                            "state": { "terminated": { "exitCode": 128, "containerID": "containerd://b1", "reason": "StartError" } },
                        },
                        {
                            "name": "new", "imageID": "", "image": "a", "ready": false, "restartCount": 0,
                            "state": { "waiting": { "reason": "ContainerCreating" } },
                        },
                    ],
                    "ephemeralContainerStatuses": [{
                        "name": "debug", "imageID": "", "image": "a", "ready": false, "restartCount": 0,
                        "containerID": "containerd://d1", "state": { "running": {} },
                    }],
                },
            })),
            &[],
            Recorder::Bpf,
        );
        let ids: Vec<_> = known
            .containers
            .iter()
            .map(|one| (one.name.as_str(), one.ids.join(" ")))
            .collect();
        let expected = [
            ("init", "i1"),
            ("app", "a1 a2"),
            ("broken", ""),
            ("new", ""),
            ("debug", "d1"),
        ];
        assert_eq!(ids, expected.map(|(name, ids)| (name, ids.to_owned())));
        let app = &known.containers[1];
        assert_eq!(app.runtime.as_deref(), Some("cri-o"));
        assert_eq!(app.commands, [vec!["cat", "/ready"], vec!["bye"]]);
        assert_eq!(known.containers[0].image.as_deref(), Some("sha256:1"));
        let privileged = known.containers.iter().filter(|one| one.privileged);
        assert_eq!(
            privileged.map(|one| &*one.name).collect::<Vec<_>>(),
            ["new"]
        );
        assert_eq!(known.static_hash.as_deref(), Some("hash"));
        assert!(!known.ended);
    }

    #[test]
    fn recordings_select_by_labels_and_by_annotations() {
        let of = |metadata: Value, kind: &str, recorder: &str| {
            let pod = pod(json!({
                "metadata": metadata, "spec": { "containers": [{ "name": "app" }] },
                "status": { "phase": "Failed" },
            }));
            let known = known(&pod, &recordings(kind, recorder), Recorder::Bpf);
            assert!(known.ended);
            !known.recordings.is_empty()
        };
        let labelled = || json!({ "name": "a", "labels": { "app": "web" } });
        let marked = |text: &str| json!({ "name": "a", "annotations": { "io.containers.trace-bpf/app": text } });
        assert!(of(labelled(), "SeccompProfile", "Bpf"));
        assert!(!of(labelled(), "SeccompProfile", "Logs"));
        assert!(!of(labelled(), "AppArmorProfile", "Bpf"));
        assert!(of(marked("web_app_x_1"), "SeccompProfile", "Bpf"));
        assert!(!of(marked("web_other_x_1"), "SeccompProfile", "Bpf"));
        assert!(!of(marked("other_app_x_1"), "SeccompProfile", "Bpf"));
        assert!(!of(json!({ "name": "a" }), "SeccompProfile", "Bpf"));
    }
}
