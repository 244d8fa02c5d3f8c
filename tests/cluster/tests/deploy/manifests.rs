//! What `kubectl apply -k deploy` would apply, and what Helm would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Where Debian puts the sources of Go packages.
const GO_PATH: &str = "/usr/share/gocode";
/// What the renderer of charts needs of them.
const GO_PACKAGES: [&str; 2] = ["Masterminds/sprig", "ghodss/yaml"];

/// Objects by kind, namespace and name.
pub(crate) type Objects = BTreeMap<(String, String, String), Value>;

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

/// What the kustomization gives; nothing where there is no kubectl.
pub(crate) fn kustomized() -> Result<Option<Objects>> {
    let Some(kubectl) = kubectl() else {
        return Ok(None);
    };
    let mut command = Command::new(kubectl);
    command.arg("kustomize").arg(repository().join("deploy"));
    objects(&said(command)?).map(Some)
}

/// What the chart gives with more values; nothing where there is no renderer.
pub(crate) fn chart(values: Option<&Path>) -> Result<Option<Objects>> {
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
