//! Pods that bindings counted for: those that are held back until a node has their profiles, and those
//! that run without.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::{Error, ResourceExt as _};
use serde_json::{Value, json};

use super::watches::Stores;
use super::{Context, Key};
use crate::api::SeccompProfile;
use crate::api::bindings::{Applied, BINDINGS, GATE, Outcome as Came};
use crate::api::common::ProfileKind;
use crate::api::names::complain_form;
use crate::api::profile_binding::BindingMode;
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::cluster::events::{Note, pod_reference};
use crate::cluster::queue::Outcome;
use crate::controller::usage::is_active;

/// The reason of the event on a pod that runs without the profile that a binding has for it.
const WITHOUT: &str = "RunsWithoutProfile";
/// The reason of the event on a pod that is held back by our gate.
const WAITS: &str = "WaitsForProfile";
/// How old a pod may be to be told something that it may have been told by an operator before.
const NEW: Duration = Duration::from_mins(2);

/// The bindings that count for a pod, as long as it may run something.
pub(super) fn bindings(pod: &Pod) -> BTreeSet<Key> {
    if !is_active(pod) {
        return BTreeSet::new();
    }
    let applied = applied(pod).into_iter();
    applied.filter_map(|one| Key::read(&one.binding)).collect()
}

/// The seccomp profiles that a pod waits for, held back by our gate or by its kubelet.
pub(super) fn awaited(pod: &Pod) -> BTreeSet<String> {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if !is_held(pod) && phase != Some("Pending") {
        return BTreeSet::new();
    }
    let waits = applied(pod).into_iter();
    let waits =
        waits.filter(|one| one.outcome == Came::Waiting && one.kind == ProfileKind::SeccompProfile);
    waits
        .map(|one| match one.mode {
            BindingMode::Complain => complain_form(&one.profile),
            BindingMode::Enforce => one.profile,
        })
        .collect()
}

pub(super) async fn reconcile(context: &Context, stores: &Stores, key: &Key) -> Outcome {
    let object = ObjectRef::new(&key.name).within(&key.namespace);
    let Some(pod) = stores.pods.get(&object) else {
        return Outcome::Done;
    };
    if let Some(note) = without(&pod, Timestamp::now()) {
        context.events.tell(&pod_reference(&pod), note).await;
    }
    if !is_held(&pod) {
        return Outcome::Done;
    }
    let profiles: Api<DeserializeGuard<SeccompProfile>> = Api::all(context.client.clone());
    for profile in awaited(&pod) {
        match profiles.get_opt(&profile).await {
            Ok(Some(found)) if is_somewhere(&found) => {}
            Ok(_) => {
                if let Some(note) = waits(&pod, &profile, Timestamp::now()) {
                    context.events.tell(&pod_reference(&pod), note).await;
                }
                return Outcome::Done;
            }
            Err(error) => return failed(key, &error),
        }
    }
    match release(context, &pod).await {
        Ok(()) => Outcome::Done,
        Err(Error::Api(status)) if status.is_not_found() => Outcome::Done,
        Err(error) => failed(key, &error),
    }
}

fn failed(key: &Key, error: &Error) -> Outcome {
    let error = told(error);
    tracing::warn!(pod = %key, error, "cannot let a pod start whose profiles are on a node");
    Outcome::Failed
}

/// Whether a node has it.
fn is_somewhere(profile: &DeserializeGuard<SeccompProfile>) -> bool {
    let status = profile.0.as_ref().ok().and_then(|one| one.status.as_ref());
    let nodes = status.and_then(|status| status.nodes.as_ref());
    nodes.is_some_and(|nodes| nodes.ready > 0)
}

fn is_held(pod: &Pod) -> bool {
    let gates = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.scheduling_gates.as_ref());
    gates.is_some_and(|gates| gates.iter().any(|gate| gate.name == GATE))
}

/// Takes our gate away; those of others stay.
async fn release(context: &Context, pod: &Pod) -> Result<(), Error> {
    let gates = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.scheduling_gates.clone());
    let mut gates = gates.unwrap_or_default();
    gates.retain(|gate| gate.name != GATE);
    let metadata = json!({ "resourceVersion": pod.resource_version(), "uid": pod.uid() });
    let patch: Patch<Value> =
        Patch::Merge(json!({ "metadata": metadata, "spec": { "schedulingGates": gates } }));
    let namespace = pod.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(&pod.name_any(), &parameters, &patch).await?;
    Ok(())
}

/// Whether nobody can have told the pod anything yet.
fn is_new(pod: &Pod, now: Timestamp) -> bool {
    let made = pod.metadata.creation_timestamp.as_ref();
    let age = made.map(|made| Duration::try_from(now.duration_since(made.0)).unwrap_or_default());
    age.is_some_and(|age| age <= NEW)
}

/// What to tell of a pod that has just been made and is held back.
fn waits(pod: &Pod, profile: &str, now: Timestamp) -> Option<Note> {
    is_new(pod, now).then(|| Note {
        warning: true,
        reason: WAITS.to_owned(),
        message: format!(
            "the pod is not scheduled until a node has the SeccompProfile {profile}, as \
             spec.whenNotInstalled of its ProfileBinding says: see the status of the profile"
        ),
    })
}

/// What to tell of a pod that has just been made without a profile.
fn without(pod: &Pod, now: Timestamp) -> Option<Note> {
    if !is_new(pod, now) {
        return None;
    }
    let mut applied = applied(pod);
    applied.retain(|one| one.outcome == Came::RuntimeDefault);
    let lines: Vec<_> = applied.iter().map(line).collect();
    (!lines.is_empty()).then(|| Note {
        warning: true,
        reason: WITHOUT.to_owned(),
        message: lines.join("\n"),
    })
}

fn line(applied: &Applied) -> String {
    let Applied {
        binding,
        kind,
        profile,
        containers,
        ..
    } = applied;
    let kind = crate::profile::named::Named::name(*kind);
    let who = match containers.as_slice() {
        [] => "the pod".to_owned(),
        containers => format!("{} of the pod", containers.join(", ")),
    };
    format!(
        "no node had the {kind} {profile} that the ProfileBinding {binding} has for {who}: it runs \
         under the runtime's own, as spec.whenNotInstalled says; make the pod anew when the profile \
         is installed"
    )
}

fn applied(pod: &Pod) -> Vec<Applied> {
    let annotations = pod.metadata.annotations.as_ref();
    let value = annotations.and_then(|annotations| annotations.get(BINDINGS));
    value.map_or_else(Vec::new, |value| Applied::all(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(outcome: &str, mode: &str, gates: &[&str], phase: &str) -> Pod {
        let applied = json!([
            { "binding": "shop/web", "kind": "SeccompProfile", "profile": "web", "mode": mode,
              "containers": ["a", "b"], "outcome": outcome },
            { "binding": "spo/all", "kind": "SelinuxProfile", "profile": "all", "mode": "Enforce",
              "containers": [], "outcome": "Bound" },
        ]);
        let gates: Vec<_> = gates.iter().map(|name| json!({ "name": name })).collect();
        let object = json!({
            "metadata": {
                "name": "one", "namespace": "shop", "creationTimestamp": "2026-01-31T12:00:00Z",
                "annotations": { BINDINGS: applied.to_string() },
            },
            "spec": { "containers": [], "schedulingGates": gates },
            "status": { "phase": phase },
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn bindings_count_for_pods_that_may_run_something() {
        let running = bindings(&pod("Bound", "Enforce", &[], "Running"));
        let names: Vec<_> = running.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["shop/web", "spo/all"]);
        assert!(bindings(&pod("Bound", "Enforce", &[], "Succeeded")).is_empty());
        assert!(bindings(&Pod::default()).is_empty());
    }

    #[test]
    fn who_is_held_back_waits_for_what_it_is_to_run_under() {
        let names = |mode| awaited(&pod("Waiting", mode, &["example.com/a", GATE], "Pending"));
        assert_eq!(names("Enforce"), ["web".to_owned()].into());
        assert_eq!(names("Complain"), ["web.complain".to_owned()].into());
        // Older servers know no gates: its kubelet holds it back.
        assert_eq!(awaited(&pod("Waiting", "Enforce", &[], "Pending")).len(), 1);
        assert!(awaited(&pod("Waiting", "Enforce", &[], "Running")).is_empty());
        assert!(awaited(&pod("Bound", "Enforce", &[GATE], "Pending")).is_empty());
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn who_is_held_back_is_told_for_what_while_it_is_new() {
        let held = pod("Waiting", "Enforce", &[GATE], "Pending");
        let note = waits(&held, "web", at("2026-01-31T12:00:01Z")).unwrap();
        assert!(note.warning && note.reason == "WaitsForProfile", "{note:?}");
        assert!(note.message.contains("SeccompProfile web,"), "{note:?}");
        assert_eq!(waits(&held, "web", at("2026-01-31T12:10:00Z")), None);
    }

    #[test]
    fn who_runs_without_is_told_while_it_is_new() {
        let soon = at("2026-01-31T12:00:01Z");
        let pod_ = pod("RuntimeDefault", "Enforce", &[], "Running");
        let note = without(&pod_, soon).unwrap();
        assert!(
            note.warning && note.message.contains("SeccompProfile web"),
            "{note:?}"
        );
        assert!(!note.message.contains("SelinuxProfile"), "{note:?}");
        assert_eq!(without(&pod_, at("2026-01-31T12:10:00Z")), None);
        assert_eq!(
            without(&pod("Bound", "Enforce", &[], "Running"), soon),
            None
        );
    }
}
