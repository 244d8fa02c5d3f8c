//! Does what a plan says.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
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

/// Writes a profile. One that is there is replaced only if nobody changed it since it was looked at,
/// and one that is being deleted is a conflict until it is gone.
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
    if present.is_some_and(is_deleting) {
        let message = format!("{name} is being deleted: it is written when that is done");
        let status = Status::failure(&message, "Conflict").with_code(409);
        return Err(Error::Api(status.boxed()));
    }
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

fn is_deleting(profile: &Guarded<SeccompProfile>) -> bool {
    profile.meta().deletion_timestamp.is_some()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::place::{Present, Put, put};
    use super::*;

    #[tokio::test]
    async fn nothing_is_written_into_what_is_being_deleted() {
        let spec = json!({ "defaultAction": "SCMP_ACT_ERRNO" });
        let object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1", "kind": "SeccompProfile",
            "metadata": { "name": "web-app", "deletionTimestamp": "2026-01-01T00:00:00Z" },
            "spec": spec,
        });
        let there: Guarded<SeccompProfile> = serde_json::from_value(object).unwrap();
        let profile = || Profile {
            name: "web-app".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            spec: serde_json::from_value(spec.clone()).unwrap(),
        };
        // What is there already would go as well.
        let first = put(&BTreeMap::new(), profile(), String::new()).unwrap();
        let first = first.write.unwrap();
        for deleting in [false, true] {
            let present = Present {
                annotations: first.annotations.clone(),
                deleting,
                ..super::super::observe::present_of(&there)
            };
            let present = BTreeMap::from([("web-app".to_owned(), present)]);
            let Put { write, .. } = put(&present, profile(), String::new()).unwrap();
            assert_eq!(write.is_some(), deleting);
        }
        // Nobody is asked.
        let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let written = write(&client, profile(), Some(&there)).await;
        let Err(Error::Api(status)) = written else {
            panic!("{written:?}");
        };
        assert!(status.is_conflict() && status.message.contains("is being deleted"));
    }
}
