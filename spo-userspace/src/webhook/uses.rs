//! Which profiles a pod names, in every way that there is to name one.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::pods::{Annotated, SECCOMP_CONTAINER, SECCOMP_POD, SeccompFile, selinux_profile};

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

const EPHEMERAL: &str = "ephemeral container";
const ANNOTATION: &str = "the annotation ";
const LISTS: [(&str, &str); 3] = [
    ("initContainers", "init container"),
    ("containers", "container"),
    ("ephemeralContainers", EPHEMERAL),
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
    let mut uses = Vec::new();
    for container in new_containers(object, old) {
        of_container(container, EPHEMERAL, &mut uses);
    }
    uses
}

fn new_containers<'v>(object: &'v Value, old: &'v Value) -> impl Iterator<Item = &'v Value> {
    fn all(object: &Value) -> impl Iterator<Item = &Value> {
        const LIST: &str = "ephemeralContainers";
        list_of(object, LIST).chain(list_of(&object["spec"], LIST))
    }
    let before: BTreeSet<_> = all(old).map(|known| known["name"].as_str()).collect();
    all(object).filter(move |container| !before.contains(&container["name"].as_str()))
}

/// The privileged containers of a new pod that would run under a seccomp profile of ours if they were not: which, and under
/// which.
pub(super) fn unfiltered(pod: &Value) -> Vec<Use> {
    let spec = &pod["spec"];
    let lists = LISTS.iter();
    let all =
        lists.flat_map(|(list, what)| list_of(spec, list).map(move |container| (container, *what)));
    all.filter_map(|(container, what)| unfiltered_in(pod, container, what))
        .collect()
}

/// The same of the ephemeral containers that a pod gets. Up to Kubernetes 1.22 they come without their pod.
pub(super) fn unfiltered_among_new(object: &Value, old: &Value) -> Vec<Use> {
    let new = new_containers(object, old);
    new.filter_map(|container| unfiltered_in(object, container, EPHEMERAL))
        .collect()
}

fn unfiltered_in(pod: &Value, container: &Value, what: &str) -> Option<Use> {
    if !is_privileged(container) {
        return None;
    }
    let name = container["name"].as_str().unwrap_or_default();
    let annotated = |key: &str| {
        let value = pod["metadata"]["annotations"][key].as_str()?;
        match Annotated::of(key, value) {
            Some(Annotated::Seccomp(path)) => Some(path),
            _ => None,
        }
    };
    let field = |context: &'_ Value| {
        let profile = &context["seccompProfile"];
        (!profile.is_null()).then(|| localhost(profile).and_then(|path| seccomp(&path)))
    };
    // What says more about it counts: of its own before the pod's, fields before annotations.
    let profile = field(&container["securityContext"])
        .or_else(|| annotated(&format!("{SECCOMP_CONTAINER}{name}")).map(seccomp))
        .or_else(|| field(&pod["spec"]["securityContext"]))
        .or_else(|| annotated(SECCOMP_POD).map(seccomp));
    Some(Use {
        part: format!("the {what} {name}"),
        profile: profile??,
    })
}

/// Whether runtimes give a container no seccomp filter.
pub(super) fn is_privileged(container: &Value) -> bool {
    container["securityContext"]["privileged"] == true
}

fn of_container(container: &Value, what: &str, uses: &mut Vec<Use>) {
    let name = container["name"].as_str().unwrap_or_default();
    let part = format!("the {what} {name}");
    of_context(&container["securityContext"], &part, uses);
}

fn of_context(context: &Value, part: &str, uses: &mut Vec<Use>) {
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

/// What a profile says that is one of the node.
fn localhost(profile: &Value) -> Option<String> {
    let of_node = profile["type"].as_str() == Some("Localhost");
    let name = profile["localhostProfile"].as_str();
    name.filter(|_| of_node).map(str::to_owned)
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
