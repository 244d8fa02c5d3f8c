//! Which profiles a pod names, in every way that there is to name one.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::pods::{Annotated, SeccompFile, selinux_profile};

/// A profile that a part of a pod names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    /// Which part, for a message.
    pub(super) part: String,
    /// The profile.
    pub(super) profile: Named,
}

/// A profile, as pods name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// A file in the folder of seccomp profiles, by its name without `.json`.
    Seccomp(String),
    /// A profile of AppArmor.
    AppArmor(String),
    /// A type of SELinux, without its end `.process`.
    Selinux(String),
}

const ANNOTATION: &str = "the annotation ";
const LISTS: [(&str, &str); 3] = [
    ("initContainers", "init container"),
    ("containers", "container"),
    ("ephemeralContainers", "ephemeral container"),
];

/// All that a new pod names.
pub(super) fn of_pod(pod: &Value) -> Vec<Use> {
    let mut uses = Vec::new();
    of_context(&pod["spec"]["securityContext"], "the pod", &mut uses);
    for (list, what) in LISTS {
        for container in list_of(&pod["spec"], list) {
            of_container(container, what, &mut uses);
        }
    }
    of_annotations(&pod["metadata"]["annotations"], &mut uses);
    // A server before 1.27 writes what is in a field into an annotation, too, and the other way.
    let (annotated, named): (Vec<_>, Vec<_>) = uses
        .into_iter()
        .partition(|one| one.part.starts_with(ANNOTATION));
    let known: BTreeSet<_> = named.iter().map(|one| one.profile.clone()).collect();
    let alone = annotated
        .into_iter()
        .filter(|one| !known.contains(&one.profile));
    named.into_iter().chain(alone).collect()
}

/// What the ephemeral containers name that a pod gets. Up to Kubernetes 1.22 they come alone.
pub(super) fn of_new_containers(object: &Value, old: &Value) -> Vec<Use> {
    fn all(object: &Value) -> impl Iterator<Item = &Value> {
        const LIST: &str = "ephemeralContainers";
        list_of(object, LIST).chain(list_of(&object["spec"], LIST))
    }
    let before: BTreeSet<_> = all(old).map(|known| known["name"].as_str()).collect();
    let mut uses = Vec::new();
    for container in all(object) {
        if !before.contains(&container["name"].as_str()) {
            of_container(container, "ephemeral container", &mut uses);
        }
    }
    uses
}

fn of_container(container: &Value, what: &str, uses: &mut Vec<Use>) {
    let name = container["name"].as_str().unwrap_or_default();
    let part = format!("the {what} {name}");
    of_context(&container["securityContext"], &part, uses);
}

fn of_context(context: &Value, part: &str, uses: &mut Vec<Use>) {
    let localhost = |profile: &Value| {
        let of_node = profile["type"].as_str() == Some("Localhost");
        let name = profile["localhostProfile"].as_str();
        name.filter(|_| of_node).map(str::to_owned)
    };
    let seccomp = localhost(&context["seccompProfile"]).and_then(|path| seccomp(&path));
    let apparmor = localhost(&context["appArmorProfile"]).map(Named::AppArmor);
    let selinux = context["seLinuxOptions"]["type"].as_str().and_then(selinux);
    for profile in [seccomp, apparmor, selinux].into_iter().flatten() {
        uses.push(Use {
            part: part.to_owned(),
            profile,
        });
    }
}

fn of_annotations(annotations: &Value, uses: &mut Vec<Use>) {
    for (key, value) in annotations.as_object().into_iter().flatten() {
        let profile = match value.as_str().and_then(|value| Annotated::of(key, value)) {
            Some(Annotated::Seccomp(path)) => seccomp(path),
            Some(Annotated::AppArmor(name)) => Some(Named::AppArmor(name.to_owned())),
            None => None,
        };
        if let Some(profile) = profile {
            let part = format!("{ANNOTATION}{key}");
            uses.push(Use { part, profile });
        }
    }
}

fn seccomp(path: &str) -> Option<Named> {
    SeccompFile::of(path).map(|file| Named::Seccomp(file.name.to_owned()))
}

fn selinux(kind: &str) -> Option<Named> {
    selinux_profile(kind).map(|name| Named::Selinux(name.to_owned()))
}

fn list_of<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value[name].as_array().into_iter().flatten()
}
