//! The profile of a take.

use std::collections::BTreeMap;
use std::time::Duration;

use super::input::LOGS;
use super::take::{End, Take, TakeKey};
use super::{Cluster, Known, PodContainer, Recording, RecordingKey};
use crate::event::{Phase, SubjectObservation};
use crate::profile::labels::{CONTAINER_ID, PARTIAL, RECORDING_ID, RECORDING_NAMESPACE};
use crate::profile::seccomp::SeccompProfile;
use crate::profile::state::State;
use crate::recorder::capabilities::{CAPABILITIES, UNSURE};
use crate::recorder::{ANNOTATION_PREFIX, Settings, record};

/// Why what was recorded may lack calls, where it was to be complete when a job had completed.
pub const FAILED: &str = "the Job that was to exercise it failed";

/// What is said of the profile of a privileged container.
const PRIVILEGED: &str = "runtimes give no seccomp filter to a privileged container, so that this profile would not hold it";

/// How a profile ends to which nothing is to be added: its pod had ended.
pub const POD_ENDED: &str = "the pod ended";

/// A profile that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The recording.
    pub recording: RecordingKey,
    /// Which one of that name.
    pub uid: String,
    /// The pod's id.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// With its labels, and with its evidence as annotations.
    pub profile: SeccompProfile,
    /// Whether nothing more is to come.
    pub last: bool,
}

impl Output {
    pub(super) fn key(&self) -> TakeKey {
        TakeKey {
            recording: self.uid.clone(),
            pod: self.pod.clone(),
            container: self.container.clone(),
        }
    }
}

impl Cluster {
    /// The profile of a take; none if no container is in it.
    pub(super) fn output(&self, key: &TakeKey, now: u64) -> Option<Output> {
        let take = self.takes.get(key)?;
        let known = self.pods.get(&key.pod)?;
        let recording = self.recordings.get(&key.recording)?;
        if take.runs() == 0 {
            return None;
        }
        let container = container(key, known);
        let mut partial = partial(key, take, known, self.node.recorder);
        let finished = recording.finished.as_ref();
        if take.end == Some(End::RecordingFinished) && finished.is_some_and(|end| end.failed) {
            partial.push(FAILED.to_owned());
        }
        if take.end.is_none() && !take.running.is_empty() {
            partial.push("it was taken while the container ran".to_owned());
        }
        let began = take.began.unwrap_or(now);
        let until = take.until.max(began);
        let subject = SubjectObservation {
            phase: Phase::Workload,
            filtered: is_held_back(key, take, known),
            executed: true,
            calls: take.calls.iter().copied().collect(),
            unnamed: take
                .unnamed
                .iter()
                .map(|(call, times)| (*call, *times))
                .collect(),
            ..SubjectObservation::default()
        };
        let last_new = take.last_new.map(|last| until.saturating_sub(last));
        let settings = Settings {
            name: name(recording, known, &key.container),
            host: self.node.arch,
            kernel: self.node.kernel.clone(),
            container: None,
            base: self.node.base.clone(),
            duration: Duration::from_secs(until - began),
            last_new: last_new.map(Duration::from_secs),
            partial,
        };
        let mut profile = record(&subject, take.losses(), &settings).profile;
        if recording.disabled {
            profile.spec.state = State::Disabled;
        }
        profile.metadata.labels = labels(recording, &key.container);
        let evidence = self.evidence(recording, take, known, container, (began, until));
        profile.metadata.annotations.extend(evidence);
        Some(Output {
            recording: recording.key.clone(),
            uid: recording.uid.clone(),
            pod: key.pod.clone(),
            container: key.container.clone(),
            profile,
            last: take.end.is_some() && take.running.is_empty(),
        })
    }

    fn evidence(
        &self,
        recording: &Recording,
        take: &Take,
        known: &Known,
        container: Option<&PodContainer>,
        (began, until): (u64, u64),
    ) -> BTreeMap<String, String> {
        let why = recording.finished.as_ref().map(|end| end.why.as_str());
        let end = match take.end {
            Some(End::Recorder) => "the recorder ended",
            Some(End::LabelGone) => "the label for recording was taken away",
            _ if !take.running.is_empty() => "the container runs on",
            Some(End::RecordingDeleted) => "the recording was deleted",
            Some(End::RecordingFinished) => why.unwrap_or("the recording was finished"),
            Some(End::Pod) => POD_ENDED,
            None => "the container ended",
        };
        let mut evidence = BTreeMap::from([
            ("recorder", self.node.recorder.to_owned()),
            ("uid", recording.uid.clone()),
            ("node", self.node.name.clone()),
            ("pod", format!("{}/{}", known.pod.namespace, known.pod.name)),
            ("pod-uid", known.pod.uid.clone()),
            ("began", time(began)),
            ("until", time(until)),
            ("end", end.to_owned()),
            ("runs", take.runs().to_string()),
        ]);
        if let Some(runtime) = container.and_then(|one| one.runtime.clone()) {
            evidence.insert("runtime", runtime);
        }
        if let Some(image) = container.and_then(|one| one.image.clone()) {
            evidence.insert("image", image);
        }
        evidence.insert(CAPABILITIES, take.capabilities.names());
        let unsure = take.capabilities.unsure(take.losses().skipped_checks);
        if !unsure.is_empty() {
            evidence.insert(UNSURE, unsure.join("; "));
        }
        if container.is_some_and(|one| one.privileged) {
            evidence.insert("privileged", PRIVILEGED.to_owned());
        }
        if !take.strangers.is_empty() {
            let strangers = take.strangers.iter().map(ToString::to_string);
            let mut text = strangers.collect::<Vec<_>>().join("; ");
            if take.more_strangers > 0 {
                let more = format!("; and {} more", take.more_strangers);
                text.push_str(&more);
            }
            evidence.insert("left-out", text);
        }
        let key = |(name, value)| (format!("{ANNOTATION_PREFIX}{name}"), value);
        evidence.into_iter().map(key).collect()
    }
}

fn container<'k>(key: &TakeKey, known: &'k Known) -> Option<&'k PodContainer> {
    let mut containers = known.pod.containers.iter();
    containers.find(|one| one.name == key.container)
}

/// Whether a filter may have kept it from what it would have done.
pub(super) fn is_held_back(key: &TakeKey, take: &Take, known: &Known) -> bool {
    take.filtered && !container(key, known).is_some_and(|one| one.logged)
}

/// Why a profile cannot be complete.
pub(super) fn partial(key: &TakeKey, take: &Take, known: &Known, recorder: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    if recorder == LOGS && !container(key, known).is_some_and(|one| one.logged) {
        reasons.push(
            "it does not run under log-enricher-trace: what its own profile does not log is not in it"
                .to_owned(),
        );
    }
    let of_container = known.ids.iter().filter(|(_, name)| **name == key.container);
    let missed = take.missed(of_container.map(|(id, _)| id));
    if missed > 0 {
        reasons.push(format!(
            "of {missed} of its runs the beginning was not seen: they began before the recorder did, \
             or it had no room for them"
        ));
    }
    if take.end == Some(End::Recorder) && !take.running.is_empty() {
        reasons.push("the recorder ended while it ran".to_owned());
    }
    let lost = take.losses().lost();
    if lost > 0 {
        reasons.push(format!("{lost} losses were counted on its node meanwhile"));
    }
    if take.strange > 0 {
        reasons.push(format!(
            "{} containers of its pod ended before it was told which ones they were",
            take.strange
        ));
    }
    reasons
}

/// What a profile is called. Of several that are merged, none has the name of the whole.
fn name(recording: &Recording, known: &Known, container: &str) -> String {
    let pod = &known.pod;
    let generated = pod.generate_name.as_deref();
    let suffix = generated
        .and_then(|prefix| {
            let suffix = pod.name.strip_prefix(prefix);
            // The API server cuts what is long, and then adds its letters.
            suffix.or_else(|| pod.name.rsplit('-').next())
        })
        .filter(|suffix| !suffix.is_empty());
    let base = format!("{}-{container}", recording.key.name);
    match suffix {
        Some(suffix) => format!("{base}-{suffix}"),
        None if recording.merge => format!("{base}-{}", pod.name),
        None => base,
    }
}

fn labels(recording: &Recording, container: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (RECORDING_ID.to_owned(), recording.key.name.clone()),
        (
            RECORDING_NAMESPACE.to_owned(),
            recording.key.namespace.clone(),
        ),
        (CONTAINER_ID.to_owned(), container.to_owned()),
    ]);
    if recording.merge {
        labels.insert(PARTIAL.to_owned(), "true".to_owned());
    }
    labels
}

/// A time for people.
fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}
