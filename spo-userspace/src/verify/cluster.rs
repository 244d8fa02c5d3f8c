//! What the cluster and the node's folder say: pods, profiles, files.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube::{Client, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::pods::running;
use super::{Error, File, FileState, Settings};
use crate::api::names::seccomp_file;
use crate::api::{SeccompProfile, SeccompProfileSpec};
use crate::cluster;
use crate::controller::seccomp::file_content;
use crate::node::profiles::{Entry, Profiles};
use crate::node::seccomp::actions;
use crate::profile::seccomp::SeccompSpec;

/// Objects in one answer.
const PAGE: u32 = 500;

/// What is known.
pub(super) struct Known {
    /// The pods of the node, or the one.
    pub(super) pods: Vec<Pod>,
    /// The profiles that their containers name, by name.
    pub(super) profiles: BTreeMap<String, Expected>,
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

/// Asks the API server and the folder.
pub(super) async fn known(settings: &Settings) -> Result<Known, Error> {
    let Settings { node, folder, pod } = settings;
    let client = cluster::connect().await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let found = nodes.get_opt(node).await.map_err(list_error("nodes"))?;
    if found.is_none() {
        return Err(Error::Node(node.clone()));
    }
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let mut pods: Vec<Pod> = match pod {
        None => list(Api::all(client.clone()), on_node, "pods").await?,
        Some((namespace, name)) => {
            let on_node = on_node.fields(&format!("spec.nodeName={node},metadata.name={name}"));
            list(Api::namespaced(client.clone(), namespace), on_node, "pods").await?
        }
    };
    if let Some((namespace, name)) = pod
        && pods.is_empty()
    {
        return Err(Error::Pod(format!("{namespace}/{name}")));
    }
    for pod in &mut pods {
        pod.metadata.managed_fields = None;
    }
    let named: BTreeSet<String> = pods
        .iter()
        .flat_map(running)
        .filter_map(|one| one.given.profile().map(str::to_owned))
        .collect();
    let objects = if named.is_empty() {
        BTreeMap::new()
    } else {
        profiles(&client).await?
    };
    let folder = Profiles::at(folder.clone());
    let kernels = actions().map_err(|error| error.to_string());
    let mut profiles = BTreeMap::new();
    for name in named {
        let text = kernels
            .clone()
            .and_then(|actions| content(&name, &objects, &actions));
        profiles.insert(name.clone(), expected(&name, text, &folder));
    }
    Ok(Known { pods, profiles })
}

type Objects = BTreeMap<String, Result<SeccompProfile, String>>;

async fn profiles(client: &Client) -> Result<Objects, Error> {
    let api: Api<DeserializeGuard<SeccompProfile>> = Api::all(client.clone());
    let all = list(api, ListParams::default(), "seccomp profiles").await?;
    let object = |guarded: DeserializeGuard<SeccompProfile>| {
        let name = guarded.name_any();
        let object = guarded.0.map_err(|error| error.to_string());
        (name, object)
    };
    Ok(all.into_iter().map(object).collect())
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
        .as_ref()
        .map_err(|error| format!("the SeccompProfile cannot be read: {error}"))?;
    let lookup = |name: &str| -> Option<SeccompSpec> {
        let base = objects.get(name)?.as_ref().ok()?;
        Some(base.spec.clone().into())
    };
    file_content(owner, object, actions, lookup)
}

fn expected(name: &str, text: Result<String, String>, folder: &Profiles) -> Expected {
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

/// All objects, in pages.
async fn list<T>(api: Api<T>, parameters: ListParams, what: &'static str) -> Result<Vec<T>, Error>
where
    T: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut parameters = parameters.limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = api.list(&parameters).await.map_err(list_error(what))?;
        objects.extend(page.items);
        match page.metadata.continue_ {
            Some(next) if !next.is_empty() => parameters.continue_token = Some(next),
            _ => return Ok(objects),
        }
    }
}

fn list_error(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error::List {
        what,
        source: Box::new(source),
    }
}
