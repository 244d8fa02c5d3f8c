//! What `kubectl apply -k deploy` would apply, and what Helm would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::Value;

use crate::crd;
use crate::objects::{create, get, replace};

/// Where Debian puts the sources of Go packages.
const GO_PATH: &str = "/usr/share/gocode";
/// What the renderer of charts needs of them.
const GO_PACKAGES: [&str; 2] = ["Masterminds/sprig", "ghodss/yaml"];

/// Objects by kind, namespace and name.
pub type Objects = BTreeMap<(String, String, String), Value>;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// kubectl: of `KUBECTL`, of `KUBEBUILDER_ASSETS`, of `PATH`, or of the cache of `cargo xtask`.
fn kubectl() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let mut places: Vec<_> = variable("KUBECTL").into_iter().map(PathBuf::from).collect();
    places.extend(variable("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join("kubectl")));
    let path = variable("PATH").unwrap_or_default();
    places.extend(std::env::split_paths(&path).map(|folder| folder.join("kubectl")));
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let home = variable("HOME").map(|home| Path::new(&home).join(".cache"));
    for cache in [cache, home].into_iter().flatten() {
        let versions = cache.join("spo/kube").read_dir().into_iter().flatten();
        places.extend(
            versions
                .flatten()
                .map(|version| version.path().join("kubectl")),
        );
    }
    places.into_iter().find(|place| place.is_file())
}

/// What installs everything; nothing where there is no kubectl.
pub fn kustomized() -> Result<Option<Objects>> {
    kustomization("deploy")
}

/// What uninstalls; nothing where there is no kubectl.
pub fn uninstalling() -> Result<Option<Objects>> {
    kustomization("deploy/uninstall")
}

fn kustomization(folder: &str) -> Result<Option<Objects>> {
    let Some(kubectl) = kubectl() else {
        return Ok(None);
    };
    let mut command = Command::new(kubectl);
    command.arg("kustomize").arg(repository().join(folder));
    objects(&said(command)?).map(Some)
}

/// What the chart gives with more values; nothing where there is no renderer.
/// Hooks are among it.
pub fn chart(values: Option<&Path>) -> Result<Option<Objects>> {
    let package = |name: &&str| {
        Path::new(GO_PATH)
            .join("src/github.com")
            .join(name)
            .is_dir()
    };
    if !GO_PACKAGES.iter().all(package) {
        return Ok(None);
    }
    let mut command = Command::new("go");
    command
        .args(["run", "main.go"])
        .arg(repository().join("deploy/helm"))
        .arg("security-profiles-operator")
        .args(values)
        .current_dir(repository().join("tests/helm"))
        .envs([("GO111MODULE", "off"), ("GOPATH", GO_PATH), ("GOFLAGS", "")]);
    objects(&said(command)?).map(Some)
}

/// Applies objects, as kubectl does: what others need comes first. Returns the kinds that the server
/// does not know, in their version.
pub async fn apply(admin: &Client, objects: &Objects) -> Result<Vec<String>> {
    let order = |kind: &str| match kind {
        "CustomResourceDefinition" => 0,
        "Namespace" => 1,
        "ServiceAccount" => 2,
        _ => 3,
    };
    let mut all: Vec<_> = objects.iter().collect();
    all.sort_by_key(|((kind, _, _), _)| order(kind));
    let mut unknown = Vec::new();
    for ((kind, _, name), object) in all {
        let done = apply_one(admin, object, &mut unknown).await;
        done.with_context(|| format!("{kind} {name} is not accepted"))?;
    }
    Ok(unknown)
}

async fn apply_one(admin: &Client, object: &Value, unknown: &mut Vec<String>) -> Result<()> {
    if object["kind"] == "CustomResourceDefinition" {
        return crd::apply(admin, object).await.map(drop);
    }
    let Some(collection) = collection(admin, object).await? else {
        let kind = object["kind"].as_str().unwrap_or_default();
        unknown.push(kind.to_owned());
        return Ok(());
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{collection}/{name}");
    if let Some(old) = get(admin, &path).await? {
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        // What a server gave a service cannot be taken from it.
        for field in ["clusterIP", "clusterIPs"] {
            if object["kind"] == "Service" && object["spec"][field].is_null() {
                object["spec"][field] = old["spec"][field].clone();
            }
        }
        replace(admin, &path, &object).await??;
    } else {
        create(admin, &collection, object).await??;
    }
    Ok(())
}

/// The path of all objects of an object's kind; nothing if the server does not know the kind.
async fn collection(admin: &Client, object: &Value) -> Result<Option<String>> {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let root = if version.contains('/') { "apis" } else { "api" };
    let root = format!("/{root}/{version}");
    let known = get(admin, &root).await?.unwrap_or_default();
    let known = known["resources"].as_array().cloned().unwrap_or_default();
    let of_kind = |known: &&Value| {
        let name = known["name"].as_str().unwrap_or_default();
        known["kind"] == object["kind"] && !name.contains('/')
    };
    let Some(resource) = known.iter().find(of_kind) else {
        return Ok(None);
    };
    let plural = resource["name"].as_str().unwrap_or_default();
    Ok(Some(if resource["namespaced"] == true {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        format!("{root}/namespaces/{namespace}/{plural}")
    } else {
        format!("{root}/{plural}")
    }))
}

fn said(mut command: Command) -> Result<String> {
    let output = command.output();
    let output = output.with_context(|| format!("failed to run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).context("it is no text")
}

fn objects(text: &str) -> Result<Objects> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("it is no YAML")?;
    let mut objects = Objects::new();
    for object in documents.into_iter().filter(|object| !object.is_null()) {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = (
            text(&object["kind"]),
            text(&metadata["namespace"]),
            text(&metadata["name"]),
        );
        let twice = objects.insert(key.clone(), object);
        ensure!(twice.is_none(), "{key:?} is there twice");
    }
    Ok(objects)
}
