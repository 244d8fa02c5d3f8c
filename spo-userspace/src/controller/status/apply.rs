//! Writes what a plan says.

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, Error};
use serde_json::{Map, Value, json};

use super::plan::Plan;
use crate::api::SecurityProfileNodeStatus;
use crate::api::names::SYSCALLS;
use crate::cluster::MANAGER;
use crate::controller::profile::{Known, ProfileKey};

/// Writes what a plan says of a profile. `version` is that of the object that was observed: its
/// finalizers are replaced, and it is deleted, only if nobody else changed it since.
pub(super) async fn apply(
    client: &Client,
    key: &ProfileKey,
    mut version: Option<String>,
    usage: Option<&'static str>,
    plan: &Plan,
) -> Result<(), Error> {
    let profiles: Api<DynamicObject> = Api::all_with(client.clone(), &key.kind.resource());
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    // Before the object may go: what belongs to it.
    let reports: Api<SecurityProfileNodeStatus> = Api::all(client.clone());
    for name in &plan.reports {
        gone(
            reports
                .delete(name, &DeleteParams::default())
                .await
                .map(drop),
        )?;
    }
    let mut metadata = Map::new();
    if let Some(finalizers) = &plan.finalizers {
        metadata.insert("finalizers".to_owned(), json!(finalizers));
        metadata.insert("resourceVersion".to_owned(), json!(version));
    }
    if let Some(rules) = &plan.syscalls {
        metadata.insert("annotations".to_owned(), json!({ SYSCALLS: rules }));
    }
    if !metadata.is_empty() {
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let patched = profiles.patch(&key.name, &parameters, &patch).await;
        version = newer(patched, version)?;
    }
    if let Some(status) = &plan.status {
        let mut patch = json!({ "status": fields(status, usage) });
        if plan.delete {
            patch["metadata"] = json!({ "resourceVersion": version });
        }
        let patch = Patch::Merge(patch);
        let patched = profiles.patch_status(&key.name, &parameters, &patch).await;
        version = newer(patched, version)?;
    }
    if plan.delete {
        // Somebody may have made it right by now.
        let unchanged = DeleteParams {
            preconditions: Some(Preconditions {
                uid: None,
                resource_version: version,
            }),
            ..DeleteParams::default()
        };
        gone(profiles.delete(&key.name, &unchanged).await.map(drop))?;
    }
    Ok(())
}

/// The version of an object that was written.
fn newer(
    written: Result<DynamicObject, Error>,
    before: Option<String>,
) -> Result<Option<String>, Error> {
    let mut version = before;
    gone(written.map(|object| version = object.metadata.resource_version))?;
    Ok(version)
}

/// What is gone needs nothing any more.
fn gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result,
    }
}

/// The fields of the status that are ours; what is empty is removed.
fn fields(known: &Known, usage: Option<&'static str>) -> Value {
    let Known {
        status,
        conditions,
        pods,
        nodes,
        usage: value,
    } = known;
    let pods = (!pods.is_empty()).then_some(pods);
    let mut fields = json!({
        "status": status,
        "conditions": conditions,
        "activeWorkloads": pods,
        "nodes": nodes,
    });
    if let Some(usage) = usage {
        fields[usage] = json!(value);
    }
    fields
}
