//! Recordings, before the API server takes them: whether any profile can come of them, and whether
//! their profiles would have the names of others'. Those are `RECORDING-CONTAINER`, and profiles are
//! of the whole cluster.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use kube::core::DeserializeGuard;

use super::recording::{Recorders, problem};
use super::review::{Answer, Request};
use crate::api::names::ENABLE_RECORDING;
use crate::api::{ProfileRecording, ProfileRecordingSpec};
use crate::profile::diagnostic::quoted;

/// Adds to what is said about a recording as an object. `labels` are its namespace's.
pub(super) fn review<'r>(
    mut answer: Answer,
    request: &Request,
    others: impl Iterator<Item = &'r DeserializeGuard<ProfileRecording>>,
    recorders: Recorders,
    labels: Option<&BTreeMap<String, String>>,
) -> Answer {
    let Request {
        namespace, object, ..
    } = request;
    if !request.changes_spec() || answer.refusal.is_some() {
        return answer;
    }
    // With a generated name, it is not known yet.
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let Ok(spec) = serde_json::from_value::<ProfileRecordingSpec>(object["spec"].clone()) else {
        return answer;
    };
    if !name.is_empty() {
        let own = Other {
            namespace,
            name,
            spec: &spec,
        };
        let spaces: Vec<_> = others
            .filter_map(|other| {
                let spec = &other.0.as_ref().ok()?.spec;
                Some((other.namespace()?, other.name_any(), spec))
            })
            .collect();
        let others = spaces.iter().map(|(namespace, name, spec)| Other {
            namespace,
            name,
            spec,
        });
        answer.refusal = label(name).or_else(|| refusal(&own, others));
    }
    if let Some(problem) = problem(&spec, recorders) {
        let warning = format!("nothing is recorded yet: {problem}");
        answer.warnings.push(warning);
    }
    if !labels.is_some_and(|labels| labels.contains_key(ENABLE_RECORDING)) {
        answer.warnings.push(format!(
            "no pods are recorded as long as the namespace {} has no label {ENABLE_RECORDING}",
            quoted(namespace)
        ));
    }
    answer
}

/// Why a recording's name is of no use: it becomes the value of labels, and a part of other names.
fn label(name: &str) -> Option<String> {
    (name.contains('.') || name.len() > 63).then(|| {
        format!(
            "the name {} cannot be that of a recording: profiles and labels are named after it, so it must have no dots and at most 63 characters",
            quoted(name)
        )
    })
}

/// A recording as others see it.
#[derive(Clone, Debug, PartialEq)]
struct Other<'r> {
    namespace: &'r str,
    name: &'r str,
    spec: &'r ProfileRecordingSpec,
}

/// Why a recording cannot stand beside the others.
///
/// What only might collide, such as `web` and `web-canary` with any containers, is taken: the node
/// overwrites no profile of another recording.
fn refusal<'r>(own: &Other<'_>, others: impl Iterator<Item = Other<'r>>) -> Option<String> {
    let mut found: Vec<_> = others
        .filter(|other| (other.namespace, other.name) != (own.namespace, own.name))
        .filter(|other| other.spec.kind == own.spec.kind)
        .filter_map(|other| Some((other.clone(), shared(own, &other)?)))
        .collect();
    found.sort_by_key(|(other, _)| (other.namespace, other.name));
    let (other, profile) = found.first()?;
    Some(format!(
        "the profiles of this recording would have the names of those of the ProfileRecording {} in the namespace {}: {profile}; \
         profiles are of the whole cluster, so name this recording differently",
        quoted(other.name),
        quoted(other.namespace),
    ))
}

/// A name that profiles of both would have.
fn shared(one: &Other<'_>, two: &Other<'_>) -> Option<String> {
    let containers =
        |other: &Other<'_>| -> BTreeSet<String> { other.spec.containers.iter().cloned().collect() };
    let (first, second) = (containers(one), containers(two));
    let full = |recording: &str, container: &str| format!("{recording}-{container}");
    if one.name == two.name {
        return match (first.is_empty(), second.is_empty()) {
            (true, true) => Some(full(one.name, "CONTAINER")),
            (true, false) => second.first().map(|name| full(one.name, name)),
            (false, true) => first.first().map(|name| full(one.name, name)),
            (false, false) => first
                .intersection(&second)
                .next()
                .map(|name| full(one.name, name)),
        };
    }
    let names = |name: &str, containers: &BTreeSet<String>| -> BTreeSet<String> {
        let containers = containers.iter();
        containers.map(|container| full(name, container)).collect()
    };
    let (first, second) = (names(one.name, &first), names(two.name, &second));
    first.intersection(&second).next().cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(kind: &str, containers: &[&str]) -> ProfileRecordingSpec {
        let recorder = "Bpf";
        serde_json::from_value(json!({
            "kind": kind, "recorder": recorder, "podSelector": {}, "containers": containers,
        }))
        .unwrap()
    }

    #[test]
    fn names_of_profiles() {
        const S: &str = "SeccompProfile";
        for (namespace, name, kind, containers, expected) in [
            ("a", "web", S, &[][..], None), // It is the same recording.
            ("b", "web", S, &[], Some("web-CONTAINER")),
            ("b", "web", S, &["app"], Some("web-app")),
            ("b", "web", "AppArmorProfile", &[], None),
            ("b", "web-app", S, &[], None),
            ("b", "other", S, &[], None),
        ] {
            let own = spec(S, &[]);
            let own = Other {
                namespace: "a",
                name: "web",
                spec: &own,
            };
            let theirs = spec(kind, containers);
            let other = Other {
                namespace,
                name,
                spec: &theirs,
            };
            let told = refusal(&own, [other].into_iter());
            assert_eq!(told.is_some(), expected.is_some(), "{namespace}/{name}");
            if let (Some(told), Some(expected)) = (told, expected) {
                assert!(told.contains(expected), "{told}");
                assert!(told.contains("in the namespace `b`"), "{told}");
            }
        }
    }

    #[test]
    fn chosen_containers_tell_names_apart_or_together() {
        let check = |one: (&str, &[&str]), two: (&str, &[&str])| {
            let (own, theirs) = (spec("SeccompProfile", one.1), spec("SeccompProfile", two.1));
            let own = Other {
                namespace: "a",
                name: one.0,
                spec: &own,
            };
            let other = Other {
                namespace: "b",
                name: two.0,
                spec: &theirs,
            };
            refusal(&own, [other].into_iter())
        };
        assert_eq!(check(("web", &["a"]), ("web", &["b"])), None);
        assert!(check(("web", &["a", "b"]), ("web", &["b"])).is_some());
        let told = check(("web", &["app-x"]), ("web-app", &["x"])).unwrap();
        assert!(told.contains("web-app-x"), "{told}");
        assert_eq!(check(("web", &["app-x"]), ("web-app", &["y"])), None);
    }
}
