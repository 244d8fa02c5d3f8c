//! What the cluster says, whoever asked it, and what follows for the files of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::api::core::v1::Pod;
use kube::core::DeserializeGuard;

use super::bindings::Bindings;
use super::pods::{Running, running};
use super::{File, FileState};
use crate::api::names::seccomp_file;
use crate::api::{SeccompProfile, SeccompProfileSpec};
use crate::controller::seccomp::file_content;
use crate::node::profiles::{Entry, Profiles};
use crate::node::seccomp::actions;
use crate::profile::seccomp::SeccompSpec;

/// Profiles by name. This version may be unable to read some.
pub type Objects = BTreeMap<String, Arc<DeserializeGuard<SeccompProfile>>>;

/// What the cluster says.
pub struct Told {
    /// The pods of the node, or the one.
    pub pods: Vec<Arc<Pod>>,
    /// All profiles; none need be there if no pod names one.
    pub profiles: Objects,
    /// Which bindings there are, or why that is not known.
    pub bindings: Result<Bindings, String>,
}

/// The containers that run, each with its pod.
pub(super) fn containers(pods: &[Arc<Pod>]) -> Vec<(&Pod, Running)> {
    let of_pod = |pod: &Arc<Pod>| running(pod).into_iter();
    pods.iter()
        .flat_map(|pod| of_pod(pod).map(move |one| (&**pod, one)))
        .collect()
}

/// A profile, and its file.
pub(super) struct Expected {
    /// What filters are to do, with what the profile's bases say; or why that is not known.
    pub(super) spec: Result<SeccompSpec, String>,
    /// When the file changed last.
    pub(super) changed: Option<SystemTime>,
    file: FileSays,
}

/// What a file says.
enum FileSays {
    Same,
    /// Another profile, if it is one.
    Other(Option<SeccompSpec>),
    Missing,
    Unknown(String),
}

impl Expected {
    /// One whose file is right.
    #[cfg(test)]
    pub(super) fn same(spec: SeccompSpec, changed: Option<SystemTime>) -> Self {
        Self {
            spec: Ok(spec),
            changed,
            file: FileSays::Same,
        }
    }

    /// What is to be told of the file.
    pub(super) fn file(&self, profile: &str) -> File {
        let (state, reason) = match &self.file {
            FileSays::Same => (FileState::Same, None),
            FileSays::Other(_) => (
                FileState::Differs,
                Some("the file on the node is not what the profile says".to_owned()),
            ),
            FileSays::Missing => (FileState::Missing, None),
            FileSays::Unknown(why) => (FileState::Unknown, Some(why.clone())),
        };
        File {
            profile: profile.to_owned(),
            state,
            reason,
        }
    }

    /// What the file says, if it is something else.
    pub(super) fn other(&self) -> Option<&SeccompSpec> {
        match &self.file {
            FileSays::Other(other) => other.as_ref(),
            _ => None,
        }
    }
}

/// The profiles that these containers name, by name, and what the folder has of them.
pub(super) fn expected(
    containers: &[(&Pod, Running)],
    objects: &Objects,
    folder: &Profiles,
) -> BTreeMap<String, Expected> {
    let named = containers.iter();
    let named: BTreeSet<_> = named.filter_map(|(_, one)| one.given.profile()).collect();
    let kernels = actions().map_err(|error| error.to_string());
    let one = |name: &str| {
        let text = kernels
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|actions| content(name, objects, actions));
        (name.to_owned(), beside_file(name, text, folder))
    };
    named.into_iter().map(one).collect()
}

/// What a daemon puts into the file of that name.
fn content(name: &str, objects: &Objects, actions: &BTreeSet<String>) -> Result<String, String> {
    // A file may be that of two profiles, `a` and `a.json`.
    let whole = seccomp_file(name);
    let owners: Vec<_> = [name, whole.as_str()]
        .into_iter()
        .filter_map(|name| Some((name, objects.get(name)?)))
        .collect();
    let (owner, object) = match owners.as_slice() {
        [] => return Err(format!("there is no SeccompProfile {name}")),
        [one] => *one,
        _ => {
            return Err(format!(
                "the file {whole} is that of two profiles: delete one of them"
            ));
        }
    };
    let object = object
        .0
        .as_ref()
        .map_err(|error| format!("the SeccompProfile cannot be read: {error}"))?;
    let lookup = |name: &str| -> Option<SeccompSpec> {
        let base = objects.get(name)?.0.as_ref().ok()?;
        Some(base.spec.clone().into())
    };
    file_content(owner, object, actions, lookup)
}

fn beside_file(name: &str, text: Result<String, String>, folder: &Profiles) -> Expected {
    let file = seccomp_file(name);
    let parsed = |text: &[u8]| {
        let spec = serde_json::from_slice::<SeccompProfileSpec>(text);
        spec.map(SeccompSpec::from)
    };
    let says = match (folder.read(&file), &text) {
        (Err(error), _) => FileSays::Unknown(error.to_string()),
        (Ok(Entry::Missing), _) => FileSays::Missing,
        (Ok(_), Err(why)) => FileSays::Unknown(why.clone()),
        (Ok(Entry::Other), _) => FileSays::Other(None),
        (Ok(Entry::File(found)), Ok(text)) if found == text.as_bytes() => FileSays::Same,
        (Ok(Entry::File(found)), Ok(_)) => FileSays::Other(parsed(&found).ok()),
    };
    let spec = text.and_then(|text| parsed(text.as_bytes()).map_err(|error| error.to_string()));
    Expected {
        spec,
        changed: folder.changed(&file).ok(),
        file: says,
    }
}
