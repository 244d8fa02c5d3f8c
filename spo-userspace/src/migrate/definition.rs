//! Definitions on their way.

use serde_json::{Value as Json, json};

use super::server::text;
use crate::api::crds::Definition;
use crate::profile::object::GROUP;

/// By which cert-manager would put certificates into a definition without a webhook.
const INJECT: &str = "cert-manager.io/inject-ca-from";

/// What is to be done about a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it is not in the cluster.
    Absent,
    /// Nothing: it is ours, and all objects are in `v1`.
    Keep,
    /// It is replaced; all objects are in `v1`.
    Replace,
    /// Its objects are written in `v1`, then it is replaced.
    Convert,
}

/// The versions that objects may be stored in.
pub(super) fn stored(crd: &Json) -> Vec<&str> {
    let versions = crd.pointer("/status/storedVersions");
    let versions = versions.and_then(Json::as_array).into_iter().flatten();
    versions.filter_map(Json::as_str).collect()
}

/// The versions to try to list objects in: the one that shows everything, if there is one; else the
/// one that is stored, then others.
pub(super) fn readable(crd: &Json) -> Vec<&str> {
    if let Some(raw) = raw(crd) {
        return vec![raw];
    }
    let served = versions(crd).filter(|version| version["served"] == true);
    let (mut first, others): (Vec<_>, Vec<_>) =
        served.partition(|version| version["storage"] == true);
    first.extend(others);
    first
        .into_iter()
        .map(|version| text(version, "/name"))
        .collect()
}

/// The older version that shows what is stored, if the definition is on its way.
pub(super) fn raw(crd: &Json) -> Option<&str> {
    let ours = versions(crd).any(|version| version["name"] == "v1" && version["storage"] == true);
    if !ours || text(crd, "/spec/conversion/strategy") == "Webhook" {
        return None;
    }
    versions(crd)
        .filter(|version| version["name"] != "v1" && version["served"] == true)
        .find(|version| version["schema"]["openAPIV3Schema"] == everything())
        .map(|version| text(version, "/name"))
}

/// Whether objects are in other places than ours: then nothing can be done in place.
pub(super) fn other_scope(crd: &Json, definition: &Definition) -> bool {
    crd["spec"]["scope"] != definition.crd["spec"]["scope"]
}

/// The definition while objects are written: older versions show what is stored, all of it; `v1`
/// takes what our schema takes, and the status with the rest. No webhook is asked.
pub(super) fn on_its_way(crd: &Json, definition: &Definition) -> Json {
    let mut spec = definition.crd["spec"].clone();
    let mut v1 = spec["versions"][0].clone();
    if let Json::Object(v1) = &mut v1 {
        v1.remove("subresources");
    }
    let mut all = vec![v1];
    for version in versions(crd).filter(|version| version["name"] != "v1") {
        all.push(json!({
            "name": version["name"],
            "served": true,
            "storage": false,
            "schema": { "openAPIV3Schema": everything() },
        }));
    }
    spec["versions"] = Json::Array(all);
    with_spec(crd, spec)
}

/// The definition in the end.
pub(super) fn ours(crd: &Json, definition: &Definition) -> Json {
    with_spec(crd, definition.crd["spec"].clone())
}

/// The definition with the note that everything is stored in `v1`.
pub(super) fn all_stored(crd: &Json) -> Json {
    let mut crd = crd.clone();
    crd["status"]["storedVersions"] = json!(["v1"]);
    crd
}

/// The name for messages.
pub(super) fn name(definition: &Definition) -> String {
    format!("{}.{GROUP}", definition.plural)
}

fn versions(crd: &Json) -> impl Iterator<Item = &Json> {
    let versions = crd.pointer("/spec/versions").and_then(Json::as_array);
    versions.into_iter().flatten()
}

/// The schema that hides nothing.
fn everything() -> Json {
    json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn with_spec(crd: &Json, mut spec: Json) -> Json {
    spec["conversion"] = json!({ "strategy": "None" });
    let mut crd = crd.clone();
    crd["spec"] = spec;
    if let Some(Json::Object(annotations)) = crd.pointer_mut("/metadata/annotations") {
        annotations.remove(INJECT);
    }
    crd
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{on_its_way, ours, raw, readable};
    use crate::api::crds::Definition;

    #[test]
    fn on_its_way_an_older_version_hides_nothing() {
        let definition = Definition::of("SeccompProfile").unwrap();
        let old = json!({
            "metadata": { "name": "a", "annotations": { "cert-manager.io/inject-ca-from": "b" } },
            "spec": {
                "conversion": { "strategy": "Webhook", "webhook": {} },
                "versions": [
                    { "name": "v1alpha1", "served": true, "storage": false, "schema": {} },
                    { "name": "v1beta1", "served": true, "storage": true, "schema": {} },
                    { "name": "v0", "served": false, "storage": false, "schema": {} },
                ],
            },
        });
        assert_eq!(raw(&old), None);
        assert_eq!(readable(&old), ["v1beta1", "v1alpha1"]);
        let next = on_its_way(&old, definition);
        assert_eq!(next["metadata"]["annotations"], json!({}));
        assert_eq!(next["spec"]["conversion"], json!({ "strategy": "None" }));
        assert_eq!(next["spec"]["versions"][0]["name"], "v1");
        assert!(next["spec"]["versions"][0]["subresources"].is_null());
        assert_eq!(raw(&next), Some("v1alpha1"));
        assert_eq!(readable(&next), ["v1alpha1"]);
        // The next run finds the same.
        assert_eq!(on_its_way(&next, definition), next);
        let last = ours(&next, definition);
        assert_eq!(last["spec"]["versions"], definition.crd["spec"]["versions"]);
        assert_eq!(raw(&last), None);
    }
}
