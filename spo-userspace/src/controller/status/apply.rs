//! Writes what a plan says.

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::{Map, Value, json};

use super::plan::Plan;
use crate::api::SecurityProfileNodeStatus;
use crate::api::names::SYSCALLS;
use crate::cluster::MANAGER;
use crate::controller::profile::{Known, ProfileKey};

/// Writes what a plan says of a profile. `version` is that of the object that was observed: its
/// finalizers are replaced only if nobody else changed it since.
pub(super) async fn apply(
    client: &Client,
    key: &ProfileKey,
    version: Option<String>,
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
        let patch = json!({ "metadata": metadata });
        gone(
            profiles
                .patch(&key.name, &parameters, &Patch::Merge(patch))
                .await
                .map(drop),
        )?;
    }
    if let Some(status) = &plan.status {
        let patch = Patch::Merge(json!({ "status": fields(status, usage) }));
        let patched = profiles.patch_status(&key.name, &parameters, &patch).await;
        gone(patched.map(drop))?;
    }
    if plan.delete {
        gone(
            profiles
                .delete(&key.name, &DeleteParams::default())
                .await
                .map(drop),
        )?;
    }
    Ok(())
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
