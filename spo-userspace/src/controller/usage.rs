//! Which profiles a pod names.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, EphemeralContainer, Pod, PodSpec, PodStatus, SELinuxOptions,
    SeccompProfile, SecurityContext,
};

use super::profile::{Kind, ProfileKey};
use crate::api::pods::{Annotated, SeccompFile, raw_selinux_profiles, selinux_profile};

/// Pods that a status names; more are counted only.
pub const MOST_PODS: usize = 500;

/// A profile as a pod names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// What the pod says.
    pub text: String,
    /// The profiles that it may mean: a seccomp profile is named by its file, which may be that of
    /// two profiles, `a` and `a.json`.
    pub profiles: BTreeSet<ProfileKey>,
}

/// The profiles that a pod names, in whatever way: for the pod, or for one of its containers, init
/// containers or ephemeral containers.
pub fn named(pod: &Pod) -> BTreeSet<Named> {
    let mut found = BTreeSet::new();
    if let Some(spec) = &pod.spec {
        let pod = spec.security_context.iter().map(|context| Context {
            seccomp: context.seccomp_profile.as_ref(),
            apparmor: context.app_armor_profile.as_ref(),
            selinux: context.se_linux_options.as_ref(),
        });
        let containers = contexts(spec).map(|context| Context {
            seccomp: context.seccomp_profile.as_ref(),
            apparmor: context.app_armor_profile.as_ref(),
            selinux: context.se_linux_options.as_ref(),
        });
        for context in pod.chain(containers) {
            context.named(&mut found);
        }
    }
    for (key, value) in pod.metadata.annotations.iter().flatten() {
        match Annotated::of(key, value) {
            Some(Annotated::Seccomp(path)) => seccomp(path, &mut found),
            Some(Annotated::AppArmor(name)) => apparmor(name, &mut found),
            None => {}
        }
    }
    found
}

/// All profiles that a pod may mean.
pub fn profiles(pod: &Pod) -> BTreeSet<ProfileKey> {
    named(pod)
        .into_iter()
        .flat_map(|named| named.profiles)
        .collect()
}

/// Whether a pod may still run something: of those that ended, nobody starts a container again.
pub fn is_active(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Removes all but what [`named`] and [`is_active`] read, and the node.
pub fn trim(pod: &mut Pod) {
    pod.metadata.labels = None;
    pod.metadata.owner_references = None;
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.retain(|key, value| Annotated::of(key, value).is_some());
    }
    if let Some(status) = &mut pod.status {
        let phase = status.phase.take();
        *status = PodStatus::default();
        status.phase = phase;
    }
    if let Some(spec) = &mut pod.spec {
        let security = spec.security_context.take();
        let slim = |container: Container| Container {
            security_context: container.security_context,
            ..Container::default()
        };
        let slim_ephemeral = |container: EphemeralContainer| EphemeralContainer {
            security_context: container.security_context,
            ..EphemeralContainer::default()
        };
        let node_name = spec.node_name.take();
        let ephemeral = spec.ephemeral_containers.take();
        let init = spec.init_containers.take();
        *spec = PodSpec {
            containers: std::mem::take(&mut spec.containers)
                .into_iter()
                .map(slim)
                .collect(),
            init_containers: init.map(|all| all.into_iter().map(slim).collect()),
            ephemeral_containers: ephemeral
                .map(|all| all.into_iter().map(slim_ephemeral).collect()),
            security_context: security,
            node_name,
            ..PodSpec::default()
        };
    }
}

fn contexts(spec: &PodSpec) -> impl Iterator<Item = &SecurityContext> {
    let usual = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let usual = usual.map(|container| &container.security_context);
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|container| &container.security_context);
    usual.chain(ephemeral).filter_map(Option::as_ref)
}

/// What the contexts of pods and of containers have in common.
struct Context<'p> {
    seccomp: Option<&'p SeccompProfile>,
    apparmor: Option<&'p AppArmorProfile>,
    selinux: Option<&'p SELinuxOptions>,
}

impl Context<'_> {
    fn named(&self, found: &mut BTreeSet<Named>) {
        let path = self
            .seccomp
            .and_then(|profile| profile.localhost_profile.as_deref());
        if let Some(path) = path {
            seccomp(path, found);
        }
        let name = self
            .apparmor
            .and_then(|profile| profile.localhost_profile.as_deref());
        if let Some(name) = name {
            apparmor(name, found);
        }
        if let Some(label) = self.selinux.and_then(|options| options.type_.as_deref()) {
            selinux(label, found);
        }
    }
}

fn seccomp(path: &str, found: &mut BTreeSet<Named>) {
    if let Some(file) = SeccompFile::of(path) {
        let (name, whole) = (file.name, file.file_name());
        found.insert(meaning(
            path,
            &[(Kind::Seccomp, name), (Kind::Seccomp, &whole)],
        ));
    }
}

fn apparmor(name: &str, found: &mut BTreeSet<Named>) {
    if !name.is_empty() {
        found.insert(meaning(name, &[(Kind::AppArmor, name)]));
    }
}

fn selinux(label: &str, found: &mut BTreeSet<Named>) {
    if let Some(name) = selinux_profile(label) {
        let raw = raw_selinux_profiles(name).map(|name| (Kind::RawSelinux, name));
        let profiles: Vec<_> = raw.chain([(Kind::Selinux, name)]).collect();
        found.insert(meaning(label, &profiles));
    }
}

fn meaning(text: &str, profiles: &[(Kind, &str)]) -> Named {
    let profiles = profiles.iter().map(|(kind, name)| ProfileKey {
        kind: *kind,
        name: (*name).to_owned(),
    });
    Named {
        text: text.to_owned(),
        profiles: profiles.collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(pod: Value) -> Vec<String> {
        let mut pod: Pod = serde_json::from_value(pod).unwrap();
        let all = profiles(&pod);
        trim(&mut pod);
        assert_eq!(profiles(&pod), all, "a trimmed pod names the same");
        all.iter().map(ToString::to_string).collect()
    }

    fn localhost(profile: &str) -> Value {
        json!({ "type": "Localhost", "localhostProfile": profile })
    }

    #[test]
    fn every_way_to_name_a_seccomp_profile_counts() {
        let both = ["SeccompProfile/a", "SeccompProfile/a.json"];
        let context = json!({ "seccompProfile": localhost("operator/a.json") });
        let container = json!({ "name": "c", "securityContext": context });
        for spec in [
            json!({ "containers": [], "securityContext": context }),
            json!({ "containers": [container] }),
            json!({ "containers": [], "initContainers": [container] }),
            json!({ "containers": [], "ephemeralContainers": [container] }),
        ] {
            assert_eq!(found(json!({ "spec": spec })), both, "{spec}");
        }
        for key in [
            "seccomp.security.alpha.kubernetes.io/pod",
            "container.seccomp.security.alpha.kubernetes.io/c",
        ] {
            let annotations = json!({ key: "localhost/operator/a.json", "other": "x" });
            assert_eq!(
                found(json!({ "metadata": { "annotations": annotations } })),
                both
            );
        }
    }

    #[test]
    fn paths_count_however_they_are_written_and_foreign_ones_do_not() {
        for (path, expected) in [
            ("operator/default/a.json", 2),
            ("./operator/a.json", 2),
            ("operator///a.json", 2),
            ("operator/a.json/", 2),
            ("operator/a/b/c.json", 0),
            ("other/a.json", 0),
        ] {
            let spec = json!({ "containers": [], "securityContext": { "seccompProfile": localhost(path) } });
            assert_eq!(found(json!({ "spec": spec })).len(), expected, "{path}");
        }
    }

    #[test]
    fn the_other_kinds_count() {
        let context = json!({
            "appArmorProfile": localhost("web"),
            "seLinuxOptions": { "type": "errorlogger.process" },
        });
        let spec = json!({ "containers": [{ "name": "c", "securityContext": context }] });
        let expected = [
            "SelinuxProfile/errorlogger",
            "RawSelinuxProfile/errorlogger",
            "AppArmorProfile/web",
        ];
        assert_eq!(found(json!({ "spec": spec })), expected);
        let context = json!({ "seLinuxOptions": { "type": "old_.process" } });
        let spec = json!({ "containers": [], "securityContext": context });
        let expected = [
            "SelinuxProfile/old_",
            "RawSelinuxProfile/old",
            "RawSelinuxProfile/old_",
        ];
        assert_eq!(found(json!({ "spec": spec })), expected);
        let annotations =
            json!({ "container.apparmor.security.beta.kubernetes.io/c": "localhost/web" });
        let pod = json!({ "metadata": { "annotations": annotations } });
        assert_eq!(found(pod), ["AppArmorProfile/web"]);
    }

    #[test]
    fn pods_that_ended_use_nothing() {
        for (phase, active) in [
            ("Running", true),
            ("Pending", true),
            ("Succeeded", false),
            ("Failed", false),
        ] {
            let pod = serde_json::from_value(json!({ "status": { "phase": phase } })).unwrap();
            assert_eq!(is_active(&pod), active, "{phase}");
        }
        assert!(is_active(&Pod::default()), "a pod whose phase is not known");
    }
}
