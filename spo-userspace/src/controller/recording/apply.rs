//! Does what a plan says.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Error, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::observe::Seen;
use super::place::Profile;
use super::plan::Step;
use super::{Context, Guarded};
use crate::api::{ProfileRecording, SeccompProfile};
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::cluster::events::Note;
use crate::recorder::ANNOTATION_PREFIX;

pub(super) async fn apply(
    context: &Context,
    seen: &Seen,
    reference: &ObjectReference,
    step: Step,
) -> Result<(), Error> {
    match step {
        Step::Write(profile) => {
            let present = seen.present.get(&profile.name);
            write(&context.client, *profile, present).await
        }
        Step::Delete(names) => {
            for (name, uid) in names {
                delete(context, &name, uid).await?;
            }
            Ok(())
        }
        Step::Finalizers(finalizers) => {
            let metadata = json!({
                "finalizers": finalizers,
                "resourceVersion": seen.version,
                "uid": seen.uid,
            });
            gone(patch(context, seen, json!({ "metadata": metadata }), false).await)
        }
        Step::Workloads(workloads) => {
            let workloads = (!workloads.is_empty()).then_some(workloads);
            let status = json!({ "activeWorkloads": workloads });
            gone(patch(context, seen, json!({ "status": status }), true).await)
        }
        Step::Started(at) => {
            let status = json!({ "startTime": Time(at) });
            gone(patch(context, seen, json!({ "status": status }), true).await)
        }
        Step::Finished(condition) => {
            let metadata = json!({ "resourceVersion": seen.version, "uid": seen.uid });
            let status = json!({ "conditions": [condition] });
            let change = json!({ "metadata": metadata, "status": status });
            gone(patch(context, seen, change, true).await)
        }
        Step::Tell(note) => {
            context.events.tell(reference, note).await;
            Ok(())
        }
        Step::Again(_) => Ok(()),
    }
}

/// Tells that a profile could not be written.
pub(super) async fn tell_failure(
    context: &Context,
    reference: &ObjectReference,
    step: &Step,
    error: &Error,
) {
    let Step::Write(profile) = step else {
        return;
    };
    let note = Note {
        warning: true,
        reason: "CannotCreateUpdateMergedProfile".to_owned(),
        message: format!("cannot write {}: {}", profile.name, told(error)),
    };
    context.events.tell(reference, note).await;
}

/// Writes a profile. One that is there is replaced only if nobody changed it since it was looked at.
pub(in crate::controller) async fn write(
    client: &Client,
    profile: Profile,
    present: Option<&Guarded<SeccompProfile>>,
) -> Result<(), Error> {
    let Profile {
        name,
        labels,
        annotations,
        spec,
    } = profile;
    let profiles: Api<SeccompProfile> = Api::all(client.clone());
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let mut object = SeccompProfile::new(&name, spec);
    if let Some(present) = present {
        object.metadata = present.meta().clone();
        object.metadata.managed_fields = None;
        // What is evidence of the state before is none of this one.
        let known = object.annotations_mut();
        known.retain(|key, _| !key.starts_with(ANNOTATION_PREFIX));
    }
    object.annotations_mut().extend(annotations);
    object.labels_mut().extend(labels);
    match present {
        Some(_) => drop(profiles.replace(&name, &parameters, &object).await?),
        None => drop(profiles.create(&parameters, &object).await?),
    }
    tracing::info!(profile = name, "wrote a profile of what was recorded");
    Ok(())
}

async fn delete(context: &Context, name: &str, uid: Option<String>) -> Result<(), Error> {
    let profiles: Api<SeccompProfile> = Api::all(context.client.clone());
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    };
    gone(profiles.delete(name, &parameters).await.map(drop))
}

async fn patch(context: &Context, seen: &Seen, patch: Value, status: bool) -> Result<(), Error> {
    let recordings: Api<ProfileRecording> =
        Api::namespaced(context.client.clone(), &seen.key.namespace);
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let (name, patch) = (&seen.key.name, Patch::Merge(patch));
    if status {
        recordings.patch_status(name, &parameters, &patch).await?;
    } else {
        recordings.patch_metadata(name, &parameters, &patch).await?;
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
