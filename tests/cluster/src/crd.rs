//! Custom resource definitions, and what the API server makes of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kube::Client;
use serde_json::{Value, json};

use crate::objects::{Refusal, create, get, replace};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(50);
/// A server shows a changed definition before it goes by it, and nothing says when it does.
const CHANGE: Duration = Duration::from_secs(2);

/// A kind of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Such as `example.com`.
    pub group: String,
    /// Such as `SeccompProfile`.
    pub kind: String,
    plural: String,
    namespaced: bool,
    versions: Vec<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    name: String,
    has_status: bool,
}

impl Kind {
    /// What a definition defines.
    pub fn of(definition: &Value) -> Result<Self> {
        let spec = &definition["spec"];
        let text = |value: &Value, what: &str| {
            let text = value.as_str().map(str::to_owned);
            text.with_context(|| format!("the definition has no {what}"))
        };
        let mut versions = Vec::new();
        for version in spec["versions"].as_array().into_iter().flatten() {
            if version["served"] == true {
                versions.push(Version {
                    name: text(&version["name"], "name of a version")?,
                    has_status: !version["subresources"]["status"].is_null(),
                });
            }
        }
        Ok(Self {
            group: text(&spec["group"], "spec.group")?,
            kind: text(&spec["names"]["kind"], "spec.names.kind")?,
            plural: text(&spec["names"]["plural"], "spec.names.plural")?,
            namespaced: text(&spec["scope"], "spec.scope")? == "Namespaced",
            versions,
        })
    }

    /// The path of all objects of a version; of those in a namespace, if there they are.
    pub fn path(&self, version: &str, namespace: Option<&str>) -> String {
        let Self { group, plural, .. } = self;
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("/apis/{group}/{version}/{plural}"),
        }
    }

    /// Whether objects are in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.namespaced
    }

    /// Whether the status of a version's objects is written apart from the rest; `None` if the
    /// version is not served.
    pub fn has_status(&self, version: &str) -> Option<bool> {
        let found = self.versions.iter().find(|known| known.name == version)?;
        Some(found.has_status)
    }
}

/// Creates a definition, or replaces it, and waits until its objects are served.
pub async fn apply(client: &Client, definition: &Value) -> Result<Kind> {
    let kind = Kind::of(definition)?;
    let name = definition["metadata"]["name"]
        .as_str()
        .context("the definition has no name")?;
    let path = format!("{CRDS}/{name}");
    match get(client, &path).await? {
        None => {
            create(client, CRDS, definition)
                .await?
                .map_err(|refusal| anyhow::anyhow!("{name} is refused: {refusal}"))?;
        }
        Some(old) => {
            let mut new = definition.clone();
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            let new = replace(client, &path, &new)
                .await?
                .map_err(|refusal| anyhow::anyhow!("{name} is refused: {refusal}"))?;
            if new["metadata"]["generation"] != old["metadata"]["generation"] {
                tokio::time::sleep(CHANGE).await;
            }
        }
    }
    let start = Instant::now();
    while !is_served(client, &path, &kind).await? {
        if start.elapsed() > PATIENCE {
            let now = get(client, &path).await?.unwrap_or_default();
            bail!("{name} is not established: {}", now["status"]["conditions"]);
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(kind)
}

/// Whether a definition is established, and the path of each of its versions answers.
async fn is_served(client: &Client, path: &str, kind: &Kind) -> Result<bool> {
    let now = get(client, path).await?.unwrap_or_default();
    let conditions = now["status"]["conditions"].as_array();
    let established = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
    if !established {
        return Ok(false);
    }
    for version in &kind.versions {
        if get(client, &kind.path(&version.name, None))
            .await?
            .is_none()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the server evaluates rules in CEL: one that does not drops them from a definition.
pub async fn knows_cel(client: &Client) -> Result<bool> {
    let schema = json!({
        "type": "object",
        "properties": { "spec": {
            "type": "object",
            "properties": { "count": { "type": "integer" } },
            "x-kubernetes-validations": [{ "rule": "self.count > 0" }],
        }},
    });
    let definition = definition("probes", "Probe", &schema);
    let made = create(client, &format!("{CRDS}?dryRun=All"), &definition).await?;
    let made =
        made.map_err(|refusal: Refusal| anyhow::anyhow!("the probe is refused: {refusal}"))?;
    let spec = &made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    Ok(!spec["x-kubernetes-validations"].is_null())
}

/// The definition of a namespaced kind of the group `cluster-tests.example.com`, version `v1`.
pub fn definition(plural: &str, kind: &str, schema: &Value) -> Value {
    let group = "cluster-tests.example.com";
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": schema },
            }],
        },
    })
}

/// The definition of `ServiceMonitor`, as far as it matters here; a Prometheus operator brings it.
pub fn monitors() -> Value {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let mut definition = definition("servicemonitors", "ServiceMonitor", &schema);
    let group = "monitoring.coreos.com";
    definition["metadata"]["name"] = json!(format!("servicemonitors.{group}"));
    definition["spec"]["group"] = json!(group);
    definition
}
