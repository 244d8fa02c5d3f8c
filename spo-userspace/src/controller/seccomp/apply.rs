//! Does what was planned.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DeserializeGuard;
use kube::{Resource as _, ResourceExt as _};
use serde_json::Value;
use thiserror::Error;

use super::Context;
use super::entrance::behind;
use super::evidence::differences;
use super::observe::{Guarded, Objects, Sight, chain};
use super::plan::{FileStep, Plan, StatusStep, failed, plan};
use super::status::{KIND, Target, status_patch};
use crate::api::SecurityProfileNodeStatus;
use crate::api::common::ProfileStatus;
use crate::api::node_status::Reason;
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::cluster::events::Note;
use crate::cluster::queue::Outcome;
use crate::node::profiles::{Profiles, ProfilesError};
use crate::profile::seccomp;
use crate::telemetry::metrics::Operation;

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a status could not be written.
#[derive(Debug, Error)]
enum StatusError {
    #[error("the API server did not do it")]
    Refused(#[from] kube::Error),
    #[error("the API server did not answer in {} s", PATIENCE.as_secs())]
    Silent(#[from] tokio::time::error::Elapsed),
}

impl Context {
    /// Makes one file, and what is said of it, what they should be.
    pub(super) async fn reconcile(self: Arc<Self>, file: String) -> Outcome {
        let sight = self.observe(&file).await;
        let mut planned = plan(&sight.observed);
        tracing::debug!(file, plan = ?planned, "planned");
        if let Err((reason, error)) = self.apply_file(&file, &planned.file).await {
            let why = chain(&error);
            tracing::warn!(file, %reason, error = why, "the file is not as it should be");
            self.metrics.seccomp_error(&reason.to_string());
            planned = failed(&sight.observed, &planned, reason, &why);
        }
        let planned = behind(self.trouble().as_ref(), &sight.observed, planned);
        let mut is_said = true;
        for (objects, step) in sight.objects.iter().zip(&planned.statuses) {
            if let Err(error) = self.apply_status(objects, step).await {
                let profile = objects.profile.name_any();
                tracing::warn!(profile, error = told(&error), "cannot write the status");
                self.metrics.seccomp_error("CannotUpdateNodeStatus");
                is_said = false;
            }
        }
        self.tell(&sight, &planned).await;
        if !is_said || planned.again {
            return Outcome::Failed;
        }
        Outcome::Done
    }

    async fn apply_file(
        self: &Arc<Self>,
        file: &str,
        step: &FileStep,
    ) -> Result<(), (Reason, ProfilesError)> {
        let save = Reason::CannotSaveSeccompProfile;
        let (result, reason, operation) = match step.clone() {
            FileStep::Leave => return Ok(()),
            FileStep::Adopt => {
                let adopted = self.in_folder(file, Profiles::adopt);
                (adopted.await, save, None)
            }
            FileStep::Write(text) => {
                let written = self.in_folder(file, move |folder, file| {
                    folder.write(file, text.as_bytes())
                });
                (written.await, save, Some(Operation::Update))
            }
            FileStep::Remove => {
                let removed = self.in_folder(file, Profiles::remove);
                let reason = Reason::CannotRemoveSeccompProfile;
                (removed.await, reason, Some(Operation::Delete))
            }
        };
        match result {
            Ok(()) => {
                if let Some(operation) = operation {
                    self.metrics.seccomp_profile(operation);
                    tracing::info!(file, ?operation, "the folder of profiles changed");
                }
                Ok(())
            }
            Err(error @ ProfilesError::Folder { .. }) => Err((Reason::FolderUnusable, error)),
            Err(error) => Err((reason, error)),
        }
    }

    async fn apply_status(&self, objects: &Objects, step: &StatusStep) -> Result<(), StatusError> {
        let Objects { profile, status } = objects;
        let (name, uid) = (profile.name_any(), profile.uid().unwrap_or_default());
        let target = Target {
            profile: &name,
            uid: &uid,
            node: &self.node,
        };
        let said = match step {
            StatusStep::None => {
                self.metrics.state(KIND, &name, None);
                self.metrics.recorded_elsewhere(&name, Vec::new());
                return Ok(());
            }
            StatusStep::Delete => {
                self.metrics.state(KIND, &name, None);
                self.metrics.recorded_elsewhere(&name, Vec::new());
                return match status {
                    Some(object) => self.delete(object).await,
                    None => Ok(()),
                };
            }
            StatusStep::Say(said) => said,
        };
        self.metrics
            .state(KIND, &name, Some(&said.state.to_string()));
        let differences = if said.state == ProfileStatus::Installed {
            differences(profile.annotations(), &self.machine)
        } else {
            Vec::new()
        };
        let kinds = differences.iter().map(|difference| difference.what);
        self.metrics.recorded_elsewhere(&name, kinds.collect());
        let words: Vec<_> = differences.into_iter().map(|one| one.words).collect();
        let elsewhere = (!words.is_empty()).then(|| words.join("; "));
        let api: Api<SecurityProfileNodeStatus> = Api::all(self.client.clone());
        let name = target.name();
        let created = match status {
            Some(_) => None,
            None => self.create(&api, &target.new_object(said)).await?,
        };
        let known = created.as_ref().or(status.as_ref());
        if let Some(patch) = target.metadata_patch(known, said) {
            self.patch(api.patch(&name, &parameters(), &Patch::Merge(patch)), &name)
                .await?;
        }
        let before = known.and_then(|object| object.status.as_ref());
        if let Some(patch) = status_patch(before, said, elsewhere, Timestamp::now()) {
            let patch: Patch<Value> = Patch::Merge(patch);
            self.patch(api.patch_status(&name, &parameters(), &patch), &name)
                .await?;
        }
        Ok(())
    }

    /// Creates the object; `None` if there is one that the watch has not shown.
    async fn create(
        &self,
        api: &Api<SecurityProfileNodeStatus>,
        object: &SecurityProfileNodeStatus,
    ) -> Result<Option<SecurityProfileNodeStatus>, StatusError> {
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        match tokio::time::timeout(PATIENCE, api.create(&parameters, object)).await? {
            Ok(made) => {
                self.written.wrote(made.clone());
                Ok(Some(made))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn patch(
        &self,
        request: impl Future<Output = Result<SecurityProfileNodeStatus, kube::Error>>,
        name: &str,
    ) -> Result<(), StatusError> {
        match tokio::time::timeout(PATIENCE, request).await {
            Ok(Ok(object)) => {
                self.written.wrote(object);
                Ok(())
            }
            Ok(Err(error)) => {
                self.written.forget(name);
                Err(error.into())
            }
            Err(error) => {
                self.written.forget(name);
                Err(error.into())
            }
        }
    }

    async fn delete(&self, object: &SecurityProfileNodeStatus) -> Result<(), StatusError> {
        let api: Api<SecurityProfileNodeStatus> = Api::all(self.client.clone());
        let name = object.name_any();
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: object.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match tokio::time::timeout(PATIENCE, api.delete(&name, &parameters)).await? {
            Err(kube::Error::Api(status)) if !status.is_not_found() && !status.is_conflict() => {
                Err(kube::Error::Api(status).into())
            }
            Err(error @ kube::Error::Api(_)) => {
                tracing::debug!(name, error = told(&error), "it was gone already");
                self.written.deleted(&name, object.uid());
                Ok(())
            }
            Err(error) => Err(error.into()),
            Ok(_) => {
                self.written.deleted(&name, object.uid());
                Ok(())
            }
        }
    }

    /// Writes the event, and counts what is wrong with the profile.
    async fn tell(&self, sight: &Sight, planned: &Plan) {
        let (Some(note), Some(objects)) = (&planned.note, sight.objects.first()) else {
            return;
        };
        let profile = objects.profile.name_any();
        let Note {
            warning,
            reason,
            message,
        } = note;
        if *warning {
            tracing::warn!(profile, reason, message, "told");
            self.metrics.seccomp_error(reason);
        }
        let reference = reference(&objects.profile);
        let told = self.events.tell(&reference, note.clone());
        if tokio::time::timeout(PATIENCE, told).await.is_err() {
            tracing::warn!(profile, "no answer to an event");
        }
    }
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

fn reference(profile: &Guarded) -> ObjectReference {
    let meta = profile.meta();
    ObjectReference {
        api_version: Some(
            DeserializeGuard::<crate::api::SeccompProfile>::api_version(&()).into_owned(),
        ),
        kind: Some(seccomp::KIND.name.to_owned()),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        ..ObjectReference::default()
    }
}
