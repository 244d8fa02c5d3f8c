//! Marks the containers of pods that are recorded, and lets those be seen that are recorded from the
//! audit log.
//!
//! The recorder on the node finds the pods of a recording itself, so that nothing is lost when this
//! webhook is away; but the seccomp profile of a container can only be chosen here.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::{Selector, SelectorExt as _};
use serde_json::{Value, json};

use super::review::{Answer, Request};
use super::uses::is_privileged;
use crate::api::ProfileRecordingSpec;
use crate::api::common::ProfileKind;
use crate::api::marks::{MOST, Mark, annotation};
use crate::api::names::{ENABLE_RECORDING, LOG_PROFILE, digest, localhost_profile};
use crate::api::pods::SECCOMP_CONTAINER;
use crate::api::profile_recording::Recorder;
use crate::profile::diagnostic::quoted;

/// On the copy of a pod that the kubelet has from a file: it runs already, as the file says.
const MIRROR: &str = "kubernetes.io/config.mirror";
const EPHEMERAL: &str = "ephemeralContainers";
const LISTS: [&str; 3] = ["initContainers", "containers", EPHEMERAL];

/// A recording of the pod's namespace that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recording {
    pub(super) name: String,
    /// Nothing if this version cannot read it.
    pub(super) spec: Option<ProfileRecordingSpec>,
}

/// What the configuration switches on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "switches, each for itself")]
pub(super) struct Recorders {
    /// `spec.enricher.enableBpfRecorder`.
    pub(super) bpf: bool,
    /// `spec.enricher.enableLogEnricher`.
    pub(super) logs: bool,
    /// `spec.enableMemoryOptimization`: only pods with a label of their own are recorded.
    pub(super) labelled: bool,
    /// Whether there is the profile that logs every call.
    pub(super) log_profile: bool,
}

/// Which pod the answer is about, and what is done to it.
struct Review<'r> {
    request: &'r Request,
    pod: Value,
    recorders: Recorders,
    seconds: u64,
    warnings: Vec<String>,
}

/// Answers what is asked about a pod, or about its ephemeral containers, with the pod as it is to be.
pub(super) fn review(
    request: &Request,
    recordings: &[Recording],
    recorders: Recorders,
    seconds: u64,
) -> Answer {
    let pod = &request.object;
    // Up to Kubernetes 1.22, ephemeral containers come as an object of their own.
    if request.is_deleting() || pod["kind"] != "Pod" {
        return Answer::default();
    }
    let mut review = Review {
        request,
        pod: pod.clone(),
        recorders,
        seconds,
        warnings: Vec::new(),
    };
    let labels: BTreeMap<String, String> =
        serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap_or_default();
    let mut recordings: Vec<_> = recordings.iter().collect();
    recordings.sort_by(|a, b| a.name.cmp(&b.name));
    let mut active = Vec::new();
    for recording in recordings {
        if let Some(spec) = review.matching(recording, &labels) {
            active.push((recording.name.as_str(), spec));
        }
    }
    for (name, spec) in &active {
        review.record(name, spec, &active);
    }
    let Review {
        pod: wanted,
        warnings,
        ..
    } = review;
    let patch = json_patch::diff(pod, &wanted);
    let news =
        request.operation == "CREATE" || !request.sub_resource.is_empty() || !patch.is_empty();
    Answer {
        refusal: None,
        // Whoever changes a label of a pod needs not read again what was said when it was made.
        warnings: if news { warnings } else { Vec::new() },
        patch: (!patch.is_empty()).then_some(patch),
    }
}

impl Review<'_> {
    /// What a recording says, if it is about this pod and can be done.
    fn matching<'a>(
        &mut self,
        recording: &'a Recording,
        labels: &BTreeMap<String, String>,
    ) -> Option<&'a ProfileRecordingSpec> {
        let name = quoted(&recording.name);
        let Some(spec) = &recording.spec else {
            self.warn(format!(
                "the ProfileRecording {name} is left out: this version cannot read it"
            ));
            return None;
        };
        match Selector::try_from(spec.pod_selector.clone()) {
            Ok(selector) if selector.matches(labels) => {}
            Ok(_) => return None,
            Err(_) => {
                self.warn(format!(
                    "the ProfileRecording {name} is left out: its podSelector cannot be read"
                ));
                return None;
            }
        }
        let labelled = labels.get(ENABLE_RECORDING).map(String::as_str) == Some("true");
        let unlabelled = (self.recorders.labelled && !labelled).then(|| {
            format!(
                "with spec.enableMemoryOptimization of the configuration spod, it needs the label {ENABLE_RECORDING}=true"
            )
        });
        match problem(spec, self.recorders).or(unlabelled) {
            None => Some(spec),
            Some(problem) => {
                self.warn(format!(
                    "the ProfileRecording {name} records nothing of this pod: {problem}"
                ));
                None
            }
        }
    }

    fn record(
        &mut self,
        recording: &str,
        spec: &ProfileRecordingSpec,
        active: &[(&str, &ProfileRecordingSpec)],
    ) {
        for list in LISTS {
            let count = self.pod["spec"][list].as_array().map_or(0, Vec::len);
            for index in 0..count {
                let container = &self.pod["spec"][list][index]["name"];
                let container = container.as_str().unwrap_or_default().to_owned();
                let wanted = &spec.containers;
                if !wanted.is_empty() && !wanted.contains(&container) {
                    continue;
                }
                let marked = self.request.sub_resource.is_empty()
                    && self.mark(recording, spec, &container, active);
                if spec.recorder != Recorder::Logs {
                    self.tell_of_privileged(recording, list, index, &container);
                    continue;
                }
                if self.is_new(list, &container) {
                    self.loosen(recording, list, index, &container);
                } else if marked {
                    self.warn(format!(
                        "the container {container} is there already: {} sees only what its own profile logs, until the pod is made anew",
                        quoted(recording)
                    ));
                }
            }
        }
    }

    /// Names a recording in the annotation of a container, once. Whether it was not there before.
    fn mark(
        &mut self,
        recording: &str,
        spec: &ProfileRecordingSpec,
        container: &str,
        active: &[(&str, &ProfileRecordingSpec)],
    ) -> bool {
        let Some(key) = annotation(spec.kind, spec.recorder, container) else {
            return false;
        };
        let known = |pod: &Value| {
            let value = &pod["metadata"]["annotations"][&key];
            value.as_str().map(Mark::all).unwrap_or_default()
        };
        let mut marks = known(&self.pod);
        if self.request.operation == "CREATE" {
            // Others were copied from another pod.
            marks.retain(|mark| active.iter().any(|(name, _)| *name == mark.recording));
        } else {
            for mark in known(&self.request.old_object) {
                if !marks.iter().any(|kept| kept.recording == mark.recording) {
                    marks.push(mark);
                }
            }
        }
        let new = !marks.iter().any(|mark| mark.recording == recording);
        if new && marks.len() >= MOST {
            self.warn(format!(
                "the container {container} has the marks of {MOST} recordings, and gets none of {}",
                quoted(recording)
            ));
        } else if new {
            marks.push(Mark {
                recording: recording.to_owned(),
                container: container.to_owned(),
                suffix: suffix(&self.request.uid, recording, container),
                seconds: self.seconds,
            });
        }
        let annotations = &mut self.pod["metadata"]["annotations"];
        annotations[key] = json!(Mark::joined(&marks));
        new
    }

    /// Says of a new privileged container that what is recorded of it will not hold it.
    fn tell_of_privileged(&mut self, recording: &str, list: &str, index: usize, container: &str) {
        if self.is_new(list, container) && is_privileged(&self.pod["spec"][list][index]) {
            self.warn(format!(
                "the container {container} is privileged, and runtimes give privileged containers no seccomp filter: \
                 the profile of {} would not hold it; it tells the capabilities that were used",
                quoted(recording)
            ));
        }
    }

    /// Lets all calls of a new container pass, and be logged.
    fn loosen(&mut self, recording: &str, list: &str, index: usize, container: &str) {
        let recording = quoted(recording);
        let path = localhost_profile(LOG_PROFILE);
        let wanted = json!({ "type": "Localhost", "localhostProfile": path });
        let found = &self.pod["spec"][list][index];
        let known = &found["securityContext"]["seccompProfile"];
        if *known == wanted {
            return;
        }
        if is_privileged(found) {
            return self.warn(format!(
                "the container {container} is privileged, so that no filter logs its calls: {recording} records nothing of it with the recorder Logs"
            ));
        }
        if !self.recorders.log_profile {
            return self.warn(format!(
                "the container {container} stays as it is, and {recording} sees only what its own profile logs: there is no SeccompProfile {}",
                quoted(LOG_PROFILE)
            ));
        }
        if !self.pod["metadata"]["annotations"][MIRROR].is_null() {
            return self.warn(format!(
                "the container {container} of a static pod stays as its file says: name {path} there for {recording}"
            ));
        }
        let before = [
            known,
            &self.pod["spec"]["securityContext"]["seccompProfile"],
        ]
        .into_iter()
        .find_map(|profile| {
            Some((
                profile["type"].as_str()?,
                profile["localhostProfile"].as_str(),
            ))
        });
        let instead = match before {
            Some((_, Some(path))) => format!(" instead of under {}", quoted(path)),
            Some((kind, None)) => format!(" instead of under {}", quoted(kind)),
            None => String::new(),
        };
        self.pod["spec"][list][index]["securityContext"]["seccompProfile"] = wanted;
        // Servers that know it refuse a pod in which it says something else.
        let annotations = self.pod.pointer_mut("/metadata/annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove(&format!("{SECCOMP_CONTAINER}{container}"));
        }
        self.warn(format!(
            "the container {container} is loosened for {recording}: it runs under {path}, which allows all calls and logs them{instead}"
        ));
    }

    /// Whether a container's profile can still be chosen.
    fn is_new(&self, list: &str, container: &str) -> bool {
        if self.request.sub_resource.is_empty() {
            return self.request.operation == "CREATE";
        }
        let before = self.request.old_object["spec"][list].as_array();
        let mut before = before.into_iter().flatten();
        list == EPHEMERAL && !before.any(|known| known["name"] == container)
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

/// Of some containers, those that a recording from the audit log has the say over, and which.
pub(super) fn by_logs(
    pod: &Value,
    containers: &BTreeSet<String>,
    recordings: &[Recording],
    recorders: Recorders,
) -> BTreeMap<String, String> {
    let labels: BTreeMap<String, String> =
        serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap_or_default();
    let labelled = labels.get(ENABLE_RECORDING).map(String::as_str) == Some("true");
    let counts = |spec: &ProfileRecordingSpec| {
        let selector = Selector::try_from(spec.pod_selector.clone());
        spec.recorder == Recorder::Logs
            && selector.is_ok_and(|selector| selector.matches(&labels))
            && problem(spec, recorders).is_none()
            && (labelled || !recorders.labelled)
    };
    let mut recorded = BTreeMap::new();
    for recording in recordings {
        let Some(spec) = recording.spec.as_ref().filter(|spec| counts(spec)) else {
            continue;
        };
        for container in containers {
            if spec.containers.is_empty() || spec.containers.contains(container) {
                recorded.insert(container.clone(), recording.name.clone());
            }
        }
    }
    recorded
}

/// Why a recording cannot be done.
pub(super) fn problem(spec: &ProfileRecordingSpec, recorders: Recorders) -> Option<String> {
    let Recorders { bpf, logs, .. } = recorders;
    let (on, field) = match (spec.kind, spec.recorder) {
        (ProfileKind::SeccompProfile, Recorder::Bpf) => (bpf, "enableBpfRecorder"),
        (ProfileKind::SeccompProfile, Recorder::Logs) => (logs, "enableLogEnricher"),
        (ProfileKind::AppArmorProfile, Recorder::Bpf)
        | (ProfileKind::SelinuxProfile, Recorder::Logs) => {
            return Some("this version records SeccompProfiles only".to_owned());
        }
        (ProfileKind::AppArmorProfile, Recorder::Logs) => {
            return Some("AppArmorProfiles need the recorder Bpf".to_owned());
        }
        (ProfileKind::SelinuxProfile, Recorder::Bpf) => {
            return Some("SelinuxProfiles need the recorder Logs".to_owned());
        }
    };
    (!on).then(|| {
        format!("recording is off; spec.enricher.{field} of the configuration spod switches it on")
    })
}

/// Five letters of the alphabet that Kubernetes makes names of. The same question has the same
/// answer.
fn suffix(uid: &str, recording: &str, container: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = digest(format!("{uid}/{recording}/{container}"));
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    // Digits of 16 are 16 letters; two of them are all.
    let pairs = digest.as_bytes().chunks(2).take(5);
    pairs
        .map(|pair| {
            letter(
                &pair
                    .iter()
                    .fold(0_u8, |sum, digit| sum.wrapping_mul(31).wrapping_add(*digit)),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
