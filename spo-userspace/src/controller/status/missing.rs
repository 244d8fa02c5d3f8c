//! Pods that name a seccomp profile which is not on their node: they wait for it, and the event says
//! so on the pod itself.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

use super::plan::Report;
use crate::api::common::ProfileStatus;
use crate::api::names;
use crate::api::pods::SeccompFile;
use crate::cluster::events::Note;
use crate::controller::profile::{Kind, ProfileKey};
use crate::controller::usage;
use crate::profile::diagnostic::quoted;

/// Why a pod's container may not start.
const REASON: &str = "ProfileNotOnNode";

/// What there is of the profiles that a pod names: nothing, or what the nodes report.
pub(super) type Known = BTreeMap<ProfileKey, Option<Vec<Report>>>;

/// What a pod was told. The next one of its name, such as of a `StatefulSet`, was told nothing.
#[derive(Debug, Default)]
pub(super) struct Told {
    uid: Option<String>,
    messages: BTreeSet<String>,
}

impl Told {
    /// Whether the pod was not told this before; from now on it was.
    pub(super) fn is_new(&mut self, uid: Option<&str>, message: &str) -> bool {
        if self.uid.as_deref() != uid {
            *self = Self {
                uid: uid.map(str::to_owned),
                messages: BTreeSet::new(),
            };
        }
        self.messages.insert(message.to_owned())
    }
}

/// The seccomp profiles that a pod may mean. Those of the other kinds may be on the node without
/// us.
pub(super) fn wanted(pod: &Pod) -> BTreeSet<ProfileKey> {
    let mut profiles = usage::profiles(pod);
    profiles.retain(|profile| profile.kind == Kind::Seccomp);
    profiles
}

/// What to say on a pod; nothing, if all that it names is on its node, or it has none yet.
pub(super) fn notes(pod: &Pod, known: &Known) -> Vec<Note> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let Some(node) = node else {
        return Vec::new();
    };
    let named = usage::named(pod).into_iter();
    let notes = named.filter_map(|named| {
        let mut reports = Vec::new();
        for profile in &named.profiles {
            if profile.kind != Kind::Seccomp {
                return None;
            }
            reports.push((profile, known.get(profile)?.as_ref()));
        }
        let why = why_not(node, &reports).or_else(|| old_path(pod, &named))?;
        Some(Note {
            warning: true,
            reason: REASON.to_owned(),
            message: format!(
                "the seccomp profile {} is not on the node {node}, and without it the container \
                 does not start: {why}",
                quoted(&named.text)
            ),
        })
    });
    notes.collect()
}

/// What is wrong with a path of release 0.8, which had the namespace in it. A node may have such files
/// from then, and a pod that runs has found its own.
fn old_path(pod: &Pod, named: &usage::Named) -> Option<String> {
    let begun = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Running");
    let profile = named.profiles.first()?;
    let is_old = SeccompFile::of(&named.text)?.is_old;
    (!begun && is_old).then(|| {
        format!(
            "this is a path of release 0.8, of which there are no new files; name {}",
            names::localhost_profile(&profile.name)
        )
    })
}

/// Why none of the profiles is on the node; nothing if one is.
fn why_not(node: &str, profiles: &[(&ProfileKey, Option<&Vec<Report>>)]) -> Option<String> {
    let there: Vec<_> = profiles
        .iter()
        .filter_map(|(profile, reports)| Some((profile, (*reports)?)))
        .collect();
    let mut why = None;
    for (profile, reports) in &there {
        let report = reports.iter().find(|report| report.node == node);
        match report {
            // What is being removed stays as long as a pod names it.
            Some(Report {
                status: Some(ProfileStatus::Installed | ProfileStatus::Terminating),
                ..
            }) => return None,
            Some(report) => {
                let status = report.status.map_or("nothing yet", |status| {
                    crate::profile::named::Named::name(status)
                });
                let remedy = match report.status {
                    Some(ProfileStatus::Disabled) => "set its spec.state to Enabled",
                    Some(ProfileStatus::Partial) => {
                        "name what it is merged into when its recording ends"
                    }
                    _ => "no reason was given",
                };
                let message = report.message.as_deref().unwrap_or(remedy);
                why = Some(format!("{profile} is {status} there: {message}"));
            }
            None => {
                let name = format!("{profile} has not got there yet; is the daemon running there?");
                why = why.or(Some(name));
            }
        }
    }
    why.or_else(|| {
        let first = profiles.first().map(|(profile, _)| &profile.name)?;
        Some(format!("there is no SeccompProfile {}", quoted(first)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(node: Option<&str>) -> Pod {
        pod_with("operator/a.json", node)
    }

    fn pod_with(path: &str, node: Option<&str>) -> Pod {
        let profile = json!({ "type": "Localhost", "localhostProfile": path });
        let context = json!({ "seccompProfile": profile });
        let spec = json!({ "nodeName": node, "containers": [], "securityContext": context });
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    fn told(node: Option<&str>, statuses: Option<&[ProfileStatus]>) -> Vec<String> {
        told_to(&pod(node), statuses)
    }

    fn told_to(pod: &Pod, statuses: Option<&[ProfileStatus]>) -> Vec<String> {
        let is_error = |status: &ProfileStatus| *status == ProfileStatus::Error;
        let report = |status: &ProfileStatus| Report {
            object: "seccompprofile-a-one".to_owned(),
            node: "one".to_owned(),
            status: Some(*status),
            reason: None,
            message: is_error(status).then(|| "for a reason".to_owned()),
            generation: None,
            current: true,
        };
        let known = wanted(pod).into_iter().map(|profile| {
            let there = statuses.filter(|_| profile.name == "a");
            (profile, there.map(|all| all.iter().map(report).collect()))
        });
        let notes = notes(pod, &known.collect());
        notes
            .into_iter()
            .map(|note| {
                note.message
                    .split(": ")
                    .skip(1)
                    .collect::<Vec<_>>()
                    .join(": ")
            })
            .collect()
    }

    #[test]
    fn each_pod_is_told_once_and_so_is_the_next_of_its_name() {
        let mut told = Told::default();
        assert!(told.is_new(Some("1"), "a"));
        assert!(!told.is_new(Some("1"), "a"));
        assert!(told.is_new(Some("1"), "b"));
        assert!(told.is_new(Some("2"), "a"));
        assert!(!told.is_new(Some("2"), "a"));
    }

    #[test]
    fn a_pod_without_a_node_or_with_its_profile_is_fine() {
        assert!(told(None, None).is_empty());
        assert!(told(Some("one"), Some(&[ProfileStatus::Installed])).is_empty());
        assert!(told(Some("one"), Some(&[ProfileStatus::Terminating])).is_empty());
    }

    #[test]
    fn a_pod_that_waits_for_an_old_path_is_told_the_new_one() {
        let installed = Some(&[ProfileStatus::Installed][..]);
        let mut pod = pod_with("operator/default/a.json", Some("one"));
        let [text] = &told_to(&pod, installed)[..] else {
            panic!("one note")
        };
        assert!(text.ends_with("; name operator/a.json"), "{text}");
        pod.status = serde_json::from_value(json!({ "phase": "Running" })).unwrap();
        assert!(told_to(&pod, installed).is_empty());
        let odd = pod_with("./operator//a.json", Some("one"));
        assert!(told_to(&odd, installed).is_empty());
    }

    #[test]
    fn a_pod_whose_profile_is_missing_is_told_why() {
        assert_eq!(told(Some("one"), None), ["there is no SeccompProfile `a`"]);
        let late = "SeccompProfile/a has not got there yet; is the daemon running there?";
        assert_eq!(told(Some("one"), Some(&[])), [late]);
        assert_eq!(told(Some("two"), Some(&[ProfileStatus::Installed])), [late]);
        let error = "SeccompProfile/a is Error there: for a reason";
        assert_eq!(told(Some("one"), Some(&[ProfileStatus::Error])), [error]);
        for (status, remedy) in [
            (ProfileStatus::Disabled, "spec.state to Enabled"),
            (ProfileStatus::Partial, "when its recording ends"),
            (ProfileStatus::Pending, "no reason was given"),
        ] {
            let told = told(Some("one"), Some(&[status]));
            assert!(told[0].contains(remedy), "{told:?}");
        }
    }
}
