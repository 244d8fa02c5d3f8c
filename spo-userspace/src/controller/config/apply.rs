//! Writes objects.

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Client, Error};
use serde_json::{Map, Value, json};

use super::plan::{Version, Written};
use super::render::Wanted;
use crate::api::SecurityProfilesOperatorDaemon;
use crate::api::daemon::SecurityProfilesOperatorDaemonStatus;
use crate::cluster::MANAGER;
use crate::controller::status::DAEMONS;

/// Creates an object, or changes it to what it is to be.
pub(super) async fn write(
    client: &Client,
    namespace: &str,
    wanted: &Wanted,
) -> Result<Written, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &wanted.resource);
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let written = match api.get_opt(&wanted.name).await? {
        None => {
            let object =
                serde_json::from_value(wanted.object.clone()).map_err(Error::SerdeError)?;
            api.create(&parameters, &object).await?
        }
        Some(live) => {
            let live = serde_json::to_value(live).map_err(Error::SerdeError)?;
            let object = merged(live, &wanted.object);
            let object = serde_json::from_value(object).map_err(Error::SerdeError)?;
            api.replace(&wanted.name, &parameters, &object).await?
        }
    };
    Ok(Written {
        hash: wanted.hash.clone(),
        version: version(&written),
    })
}

/// The version of an object.
pub(super) fn version<K: kube::Resource>(object: &K) -> Version {
    let meta = object.meta();
    let number = meta.resource_version.as_ref();
    let number = number.and_then(|version| version.parse().ok()).unwrap_or(0);
    Version {
        uid: meta.uid.clone().unwrap_or_default(),
        number: meta
            .generation
            .filter(|number| *number > 0)
            .unwrap_or(number),
    }
}

/// The object as it is, with each field of the specification that is wanted in place of what was
/// there: a Pod template as a whole, so that nothing of an older one is left. Fields that are not
/// ours stay, such as the address of a Service; and so do the labels and owners of others.
fn merged(mut live: Value, wanted: &Value) -> Value {
    for (field, value) in fields(&wanted["spec"]) {
        live["spec"][field] = value;
    }
    for (key, value) in fields(&wanted["metadata"]["labels"]) {
        live["metadata"]["labels"][key] = value;
    }
    let ours = wanted["metadata"]["ownerReferences"].as_array();
    let ours = ours.cloned().unwrap_or_default();
    let mut owners = live["metadata"]["ownerReferences"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    // Of one kind and name there is only one; another uid is one that is gone.
    owners.retain(|owner| {
        !ours
            .iter()
            .any(|ours| ours["kind"] == owner["kind"] && ours["name"] == owner["name"])
    });
    owners.extend(ours);
    live["metadata"]["ownerReferences"] = json!(owners);
    live
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Creates the configuration. That somebody else was faster is no error.
pub(super) async fn create_configuration(
    client: &Client,
    namespace: &str,
    object: Value,
) -> Result<(), Error> {
    let api: Api<SecurityProfilesOperatorDaemon> = Api::namespaced(client.clone(), namespace);
    let object = serde_json::from_value(object).map_err(Error::SerdeError)?;
    match api.create(&PostParams::default(), &object).await {
        Err(Error::Api(status)) if status.is_already_exists() => Ok(()),
        result => result.map(drop),
    }
}

/// Writes the configuration's status. One that is gone needs none.
pub(super) async fn write_status(
    client: &Client,
    namespace: &str,
    status: &SecurityProfilesOperatorDaemonStatus,
) -> Result<(), Error> {
    // What is answered may be more than this version can read.
    let kind = ApiResource::erase::<SecurityProfilesOperatorDaemon>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let patch = Patch::Merge(json!({ "status": status }));
    match api
        .patch_status(DAEMONS, &PatchParams::default(), &patch)
        .await
    {
        Err(Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_stays_and_what_is_is_replaced_as_a_whole() {
        let live = json!({
            "metadata": {
                "labels": { "app": "other", "theirs": "1" },
                "ownerReferences": [
                    { "kind": "A", "name": "a", "uid": "1" },
                    { "kind": "B", "name": "b", "uid": "2" },
                ],
                "resourceVersion": "7",
            },
            "spec": { "clusterIP": "10.0.0.1", "template": { "old": true }, "ports": [1, 2] },
        });
        let wanted = json!({
            "metadata": {
                "labels": { "app": "ours" },
                "ownerReferences": [{ "kind": "B", "name": "b", "uid": "3" }],
            },
            "spec": { "template": { "new": true }, "ports": [1] },
        });
        let expected = json!({
            "metadata": {
                "labels": { "app": "ours", "theirs": "1" },
                "ownerReferences": [
                    { "kind": "A", "name": "a", "uid": "1" },
                    { "kind": "B", "name": "b", "uid": "3" },
                ],
                "resourceVersion": "7",
            },
            "spec": { "clusterIP": "10.0.0.1", "template": { "new": true }, "ports": [1] },
        });
        assert_eq!(merged(live, &wanted), expected);
    }
}
