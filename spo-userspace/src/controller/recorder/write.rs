//! Writes what was recorded, one thing after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Client, Resource as _};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::api::names::{self, COVERAGE};
use crate::api::profile_recording::RecordingNode;
use crate::api::seccomp_profile::NotAnObject;
use crate::api::{ProfileRecording, SeccompProfile, SeccompProfileSpec};
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::cluster::events::{Events, Note};
use crate::controller::recording::apply;
use crate::controller::recording::merge::{Partial, Whole, whole};
use crate::controller::recording::observe::present_of;
use crate::controller::recording::place::{PROPOSED, Profile, Put, is_own, is_untouched, put};
use crate::recorder::ANNOTATION_PREFIX;
use crate::recorder::cluster::{Output, RecordingKey};

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something to be written.
#[derive(Clone, Debug)]
pub enum Job {
    /// A profile.
    Profile(Box<Output>),
    /// What a recording, by its id as well, says of this node; nothing takes it away.
    Status(RecordingKey, String, Option<Box<RecordingNode>>),
    /// An event of a recording.
    Tell(RecordingKey, String, Note),
}

/// Something was written, or could not be.
#[derive(Clone, Debug)]
pub struct Done {
    /// What was to be done.
    pub job: Job,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Written,
    /// It may be tried again.
    Failed,
    /// What is somebody else's is in its place.
    Taken,
}

/// Why something was not written.
#[derive(Debug, Error)]
enum WriteError {
    #[error(transparent)]
    Refused(#[from] kube::Error),
    #[error("the API server did not answer in {} s", PATIENCE.as_secs())]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Profile(#[from] NotAnObject),
    #[error("{0}")]
    Place(String),
}

/// Writes. Nobody else writes these profiles but for the operator, which does not touch their `spec`.
pub struct Writer {
    client: Client,
    node: String,
    events: Events,
    /// What was there before the first profile of a take was written, and what was written last.
    written: BTreeMap<String, Written>,
}

/// Of a profile's name.
struct Written {
    /// The recording's id, and the pod's.
    of: (String, String),
    before: Option<Partial>,
    /// Of what was written last; or may have been, if the server did not say so.
    evidence: Vec<BTreeMap<String, String>>,
}

impl Writer {
    /// A writer for the recorder of a node.
    pub fn new(client: Client, node: String, events: Events) -> Self {
        Self {
            client,
            node,
            events,
            written: BTreeMap::new(),
        }
    }

    /// Works until nobody has anything to be written any more.
    pub async fn run(mut self, mut jobs: UnboundedReceiver<Job>, done: UnboundedSender<Done>) {
        while let Some(job) = jobs.recv().await {
            let tried = tokio::time::timeout(PATIENCE, self.write(&job)).await;
            let result = tried.map_err(WriteError::from).and_then(|result| result);
            if let Err(error) = &result {
                self.failed(&job, error).await;
            }
            let outcome = match &result {
                Ok(()) => Outcome::Written,
                Err(WriteError::Place(_)) => Outcome::Taken,
                Err(_) => Outcome::Failed,
            };
            // Who asked may have ended.
            drop(done.send(Done { job, outcome }));
        }
    }

    async fn write(&mut self, job: &Job) -> Result<(), WriteError> {
        match job {
            Job::Profile(output) => self.profile(output).await,
            Job::Status(key, uid, node) => Ok(self.status(key, uid, node.as_deref()).await?),
            Job::Tell(key, uid, note) => {
                self.events.tell(&reference(key, uid), note.clone()).await;
                Ok(())
            }
        }
    }

    async fn failed(&self, job: &Job, error: &WriteError) {
        let text = match error {
            WriteError::Refused(error) => told(error),
            other => other.to_string(),
        };
        match job {
            Job::Profile(output) => {
                let profile = &output.profile.metadata.name;
                tracing::warn!(profile, error = text, "cannot write a profile");
                // Somebody else was faster, and it is tried again.
                let conflict = matches!(error, WriteError::Refused(kube::Error::Api(status))
                    if status.is_conflict() || status.is_already_exists());
                if !conflict {
                    let note = Note {
                        warning: true,
                        reason: "CannotCreateProfile".to_owned(),
                        message: format!("cannot write {profile}: {text}"),
                    };
                    let reference = reference(&output.recording, &output.uid);
                    self.events.tell(&reference, note).await;
                }
            }
            Job::Status(key, ..) | Job::Tell(key, ..) => {
                let RecordingKey { namespace, name } = key;
                tracing::warn!(namespace, name, error = text, "cannot tell of a recording");
            }
        }
    }

    async fn profile(&mut self, output: &Output) -> Result<(), WriteError> {
        let Output {
            recording,
            uid,
            pod,
            container,
            profile: recorded,
            last,
        } = output;
        let name = names::recorded(recorded.metadata.name.clone());
        let proposal = names::proposal(&name);
        let objects = self.objects([&name, &proposal]).await?;
        let present: BTreeMap<_, _> = objects
            .iter()
            .map(|(name, found)| (name.clone(), present_of(found)))
            .collect();
        let own = Partial {
            name: name.clone(),
            uid: None,
            container: container.clone(),
            annotations: recorded.metadata.annotations.clone(),
            spec: Some(SeccompProfileSpec::try_from(recorded.spec.clone())?),
        };
        // What this recording had of an earlier pod of the name, or from an earlier recorder, stays.
        let key = format!("{ANNOTATION_PREFIX}uid");
        let of = |name: &String| {
            let there = present.get(name)?;
            let ours = is_own(there, &recorded.metadata.labels) && is_untouched(there);
            Some((there, there.annotations.get(&key).filter(|_| ours)?))
        };
        let theirs = [&proposal, &name].into_iter().filter_map(of);
        let theirs = theirs.map(|(_, of)| of).filter(|of| *of != uid);
        if let Some(later) = self.later(output, theirs).await? {
            return self.is_late(output, &later).await;
        }
        let there = [&proposal, &name].into_iter().find_map(|name| {
            let (there, of) = of(name)?;
            (of == uid).then(|| Partial {
                name: name.clone(),
                uid: None,
                container: own.container.clone(),
                annotations: there.annotations.clone(),
                spec: there.spec.clone(),
            })
        });
        let evidence_before = there.as_ref().map(|there| evidence(&there.annotations));
        let evidence_before = evidence_before.unwrap_or_default();
        let known = self.written.get(&name).filter(|written| {
            written.of == (uid.clone(), pod.clone())
                && (there.is_none() || written.evidence.contains(&evidence_before))
        });
        let before = match known {
            Some(written) => written.before.clone(),
            None => there,
        };
        let (spec, annotations) = joined(before.as_ref(), own).map_err(WriteError::Place)?;
        let calls: usize = spec.syscalls.iter().map(|rule| rule.names.len()).sum();
        let wanted = Profile {
            name: name.clone(),
            labels: recorded.metadata.labels.clone(),
            annotations,
            spec,
        };
        let is_partial = wanted
            .annotations
            .contains_key(&format!("{ANNOTATION_PREFIX}partial"));
        let Put { write, proposed } = put(&present, wanted, proposal).map_err(WriteError::Place)?;
        let reference = reference(recording, uid);
        let wrote = write.as_ref().map(|profile| evidence(&profile.annotations));
        let written = Written {
            of: (uid.clone(), pod.clone()),
            before,
            evidence: [evidence_before].into_iter().chain(wrote).collect(),
        };
        self.written.insert(name.clone(), written);
        if let Some(profile) = write {
            let place = profile.name.clone();
            let there = objects.get(&place);
            apply::write(&self.client, profile, there).await?;
            if there.is_none() && proposed.is_none() {
                let incomplete = if is_partial { ", incomplete" } else { "" };
                let message = format!("{place} allows {calls} system calls{incomplete}");
                let note = note("ProfileCreated", message);
                self.events.tell(&reference, note).await;
            }
        }
        if *last {
            self.written.remove(&name);
        }
        if let Some(message) = proposed {
            self.events.tell(&reference, note(PROPOSED, message)).await;
        }
        Ok(())
    }

    /// Profiles, as far as they are there.
    async fn objects(
        &self,
        names: [&String; 2],
    ) -> Result<BTreeMap<String, DeserializeGuard<SeccompProfile>>, kube::Error> {
        let profiles: Api<DeserializeGuard<SeccompProfile>> = Api::all(self.client.clone());
        let mut objects = BTreeMap::new();
        for name in names {
            if let Some(found) = profiles.get_opt(name).await? {
                objects.insert(name.clone(), found);
            }
        }
        Ok(objects)
    }

    /// The recording that has the name now, if one of these profiles is of it and not of ours.
    async fn later(
        &self,
        output: &Output,
        mut theirs: impl Iterator<Item = &String>,
    ) -> Result<Option<String>, kube::Error> {
        let Some(first) = theirs.next() else {
            return Ok(None);
        };
        let RecordingKey { namespace, name } = &output.recording;
        let recordings: Api<ProfileRecording> = Api::namespaced(self.client.clone(), namespace);
        let now = recordings.get_metadata_opt(name).await?;
        let now = now.and_then(|now| now.metadata.uid);
        let now = now.filter(|now| *now != output.uid);
        Ok(now.filter(|now| first == now || theirs.any(|of| of == now)))
    }

    /// What comes late of an earlier recording takes nothing from what a later one of its name has.
    async fn is_late(&self, output: &Output, later: &str) -> Result<(), WriteError> {
        let profile = &output.profile.metadata.name;
        let message = format!(
            "what an earlier recording of this name had of a pod is not written: {profile} is of this one already"
        );
        tracing::warn!(profile, "{message}");
        let note = Note {
            warning: true,
            reason: "ProfileTooLate".to_owned(),
            message,
        };
        let reference = reference(&output.recording, later);
        self.events.tell(&reference, note).await;
        Ok(())
    }

    /// Writes this node's part of a status, and no other node's.
    async fn status(
        &self,
        key: &RecordingKey,
        uid: &str,
        node: Option<&RecordingNode>,
    ) -> Result<(), kube::Error> {
        let recordings: Api<ProfileRecording> =
            Api::namespaced(self.client.clone(), &key.namespace);
        let found = recordings.get_opt(&key.name).await?;
        // Another one of the name hears nothing of this one.
        let Some(found) = found.filter(|found| found.metadata.uid.as_deref() == Some(uid)) else {
            return Ok(());
        };
        let Some(patch) = status_patch(&found, &self.node, node) else {
            return Ok(());
        };
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        recordings
            .patch_status(&key.name, &parameters, &patch)
            .await
            .map(drop)
    }
}

/// What changes this node's part of a status alone, whatever other nodes write meanwhile. (What
/// server-side apply leaves of a list with one element that is taken away, older servers refuse.)
fn status_patch(
    found: &ProfileRecording,
    name: &str,
    node: Option<&RecordingNode>,
) -> Option<Patch<Value>> {
    let nodes = found.status.as_ref().map(|status| &status.nodes);
    let nodes = nodes.map(Vec::as_slice).unwrap_or_default();
    let index = nodes.iter().position(|one| one.name == name);
    let is = |index: usize, name: &str| json!({ "op": "test", "path": format!("/status/nodes/{index}/name"), "value": name });
    let operations = match (index, node, nodes.first()) {
        (None, None, _) => return None,
        (Some(index), Some(node), _) => json!([
            is(index, name),
            { "op": "replace", "path": format!("/status/nodes/{index}"), "value": node },
        ]),
        (Some(index), None, _) => json!([
            is(index, name),
            { "op": "remove", "path": format!("/status/nodes/{index}") },
        ]),
        (None, Some(node), Some(first)) => json!([
            is(0, &first.name),
            { "op": "add", "path": "/status/nodes/-", "value": node },
        ]),
        (None, Some(node), None) => {
            return Some(Patch::Merge(json!({
                "metadata": { "resourceVersion": found.metadata.resource_version },
                "status": { "nodes": [node] },
            })));
        }
    };
    let operations = serde_json::from_value(operations).unwrap_or_default();
    Some(Patch::Json(operations))
}

fn note(reason: &str, message: String) -> Note {
    Note {
        warning: false,
        reason: reason.to_owned(),
        message,
    }
}

/// The annotations that tell how a profile came to be.
fn evidence(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = annotations
        .iter()
        .filter(|(key, _)| key.starts_with(ANNOTATION_PREFIX));
    own.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// What was recorded, with what was recorded before.
fn joined(
    before: Option<&Partial>,
    own: Partial,
) -> Result<(SeccompProfileSpec, BTreeMap<String, String>), String> {
    let Some(before) = before else {
        let spec = own.spec.ok_or("there is nothing to write")?;
        return Ok((spec, own.annotations));
    };
    let state = own.spec.as_ref().map(|spec| spec.state);
    let Whole {
        mut spec,
        annotations: both,
    } = whole(&[before, &own])?;
    if let Some(state) = state {
        spec.state = state;
    }
    let mut annotations = own.annotations;
    annotations.extend(both);
    annotations.remove(COVERAGE);
    annotations.remove(&format!("{ANNOTATION_PREFIX}profiles"));
    Ok((spec, annotations))
}

fn reference(key: &RecordingKey, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(ProfileRecording::api_version(&()).into_owned()),
        kind: Some(ProfileRecording::kind(&()).into_owned()),
        name: Some(key.name.clone()),
        namespace: Some(key.namespace.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::recording::merge::tests::partial;

    fn recording(nodes: &[&str]) -> ProfileRecording {
        let nodes: Vec<_> = nodes.iter().map(|name| json!({ "name": name })).collect();
        let object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": "ProfileRecording",
            "metadata": { "name": "web", "namespace": "shop", "resourceVersion": "7" },
            "spec": { "kind": "SeccompProfile", "podSelector": {} },
            "status": { "nodes": nodes },
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_status_is_changed_for_this_node_alone() {
        let node = RecordingNode {
            name: "me".to_owned(),
            ..RecordingNode::default()
        };
        let of = |nodes: &[&str], node: Option<&RecordingNode>| match status_patch(
            &recording(nodes),
            "me",
            node,
        ) {
            Some(Patch::Merge(patch)) => patch,
            Some(Patch::Json(patch)) => serde_json::to_value(patch).unwrap(),
            _ => Value::Null,
        };
        assert_eq!(of(&[], None), Value::Null);
        let first = of(&[], Some(&node));
        assert_eq!(first["metadata"]["resourceVersion"], "7");
        assert_eq!(first["status"]["nodes"][0]["name"], "me");
        let words = |patch: Value| {
            let operations = patch.as_array().unwrap().iter();
            let words = operations.map(|one| format!("{} {}", one["op"], one["path"]));
            words.collect::<Vec<_>>().join(", ").replace('"', "")
        };
        for (nodes, node, expected) in [
            (
                &["you"][..],
                Some(&node),
                "test /status/nodes/0/name, add /status/nodes/-",
            ),
            (
                &["you", "me"],
                Some(&node),
                "test /status/nodes/1/name, replace /status/nodes/1",
            ),
            (
                &["you", "me"],
                None,
                "test /status/nodes/1/name, remove /status/nodes/1",
            ),
        ] {
            assert_eq!(words(of(nodes, node)), expected);
        }
    }

    #[test]
    fn what_was_recorded_before_stays_and_so_does_what_it_lacks() {
        let before = partial(
            "a",
            &["read"],
            &[
                ("lost", "1"),
                ("partial", "the recorder ended"),
                ("pod", "x"),
            ],
        );
        let own = partial("a", &["write"], &[("lost", "2"), ("pod", "y")]);
        let (spec, annotations) = joined(Some(&before), own.clone()).unwrap();
        assert_eq!(spec.syscalls[0].names, ["read", "write"]);
        let own_key = |name: &str| &annotations[&format!("{ANNOTATION_PREFIX}{name}")];
        assert_eq!(own_key("lost"), "3");
        assert_eq!(own_key("partial"), "the recorder ended");
        assert_eq!(own_key("pod"), "y");
        assert_eq!(joined(None, own.clone()).unwrap().1, own.annotations);
    }
}
