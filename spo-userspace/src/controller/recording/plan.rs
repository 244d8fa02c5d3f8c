//! What is to be done about a recording. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;

use super::finish::{NOT_HANDED_IN, Progress, Verdict, verdict};
use super::merge::{MOST, Partial, Whole, late, whole};
use super::place::{PROPOSED, Present, Profile, Put, is_own, is_untouched, put};
use crate::api::common::ProfileKind;
use crate::api::names::{
    CONTAINER_ID, RECORDED, RECORDING_ID, RECORDING_NAMESPACE, UNMERGED, proposal,
};
use crate::api::profile_recording::{JOB_FAILED, MergeStrategy};
use crate::cluster::events::Note;
use crate::profile::few::few;
use crate::recorder::ANNOTATION_PREFIX;
use crate::recorder::cluster::FAILED;

/// Why a result may lack something, while its recording says more.
const SEE_STATUS: &str = "nodes do not have all of it: the recording's status says why";

/// How long a node may take to hand in what it has when a recording is deleted.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// What is known of a recording. One that is gone may have left profiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observed {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The object.
    pub(super) recording: Option<Recording>,
    /// Its profiles that are to be merged.
    pub(super) partials: Vec<Partial>,
    /// By name: those that stand where a result is to be.
    pub(super) present: BTreeMap<String, Present>,
    /// For one that is gone: the id of another one that has its name now.
    pub(super) later: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Recording {
    /// Which one of its name.
    pub(super) uid: Option<String>,
    /// The kind, and whether profiles are merged; nothing if this version cannot read it.
    pub(super) spec: Option<(ProfileKind, MergeStrategy)>,
    pub(super) finalizers: Vec<String>,
    /// For how long it has been on its way out.
    pub(super) deleting: Option<Duration>,
    /// The pods that nodes say they record, by node. Nodes that are gone are left out.
    pub(super) nodes: BTreeMap<String, BTreeSet<String>>,
    /// Why nodes say that what they recorded of a container cannot be complete, by container.
    pub(super) incomplete: BTreeMap<String, BTreeSet<String>>,
    /// The nodes that have not handed in what they recorded of a container, also those that are gone.
    pub(super) missing: BTreeMap<String, BTreeSet<String>>,
    /// `status.activeWorkloads`.
    pub(super) workloads: Vec<String>,
    /// What rules for its end go by.
    pub(super) progress: Progress,
}

/// Something to be done; what follows is left out if it fails.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Write a profile.
    Write(Box<Profile>),
    /// Delete these profiles, each by name and identity.
    Delete(Vec<(String, Option<String>)>),
    /// Set the finalizers.
    Finalizers(Vec<String>),
    /// Set `status.activeWorkloads`.
    Workloads(Vec<String>),
    /// Set `status.startTime`.
    Started(Timestamp),
    /// Say that a rule has ended it.
    Finished(Condition),
    /// Tell something.
    Tell(Note),
    /// Look again later.
    Again(Duration),
}

impl Step {
    /// Whether it changes the recording.
    fn is_of_recording(&self) -> bool {
        match self {
            Self::Finalizers(_) | Self::Workloads(_) | Self::Started(_) | Self::Finished(_) => true,
            Self::Write(_) | Self::Delete(_) | Self::Tell(_) | Self::Again(_) => false,
        }
    }
}

/// The names where results of a container may stand.
pub(super) fn places(recording: &str, container: &str) -> [String; 2] {
    let name = format!("{recording}-{container}");
    let proposal = proposal(&name);
    [name, proposal]
}

pub(super) fn plan(observed: &Observed) -> Vec<Step> {
    let uid = observed
        .recording
        .as_ref()
        .and_then(|one| one.uid.as_deref());
    let mut older: BTreeMap<&str, Vec<Partial>> = BTreeMap::new();
    let mut own = Vec::new();
    for partial in &observed.partials {
        match uid_of(&partial.annotations) {
            Some(of) if uid.is_some_and(|uid| uid != of) => {
                older.entry(of).or_default().push(partial.clone());
            }
            _ => own.push(partial.clone()),
        }
    }
    if older.is_empty() {
        return plan_one(observed);
    }
    // What came late of recordings that are gone is none of this one's.
    let gone = older.into_values().map(|partials| Observed {
        recording: None,
        partials,
        later: uid.map(str::to_owned),
        ..observed.clone()
    });
    let own = Observed {
        partials: own,
        ..observed.clone()
    };
    gone.chain([own]).flat_map(|one| plan_one(&one)).collect()
}

fn plan_one(observed: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    let recording = observed.recording.as_ref();
    let workloads = recording.map(workloads).unwrap_or_default();
    let deleting = recording.and_then(|one| one.deleting);
    let verdict = recording.map_or(Verdict::Open, |one| verdict(&one.progress));
    let verdict = if deleting.is_none() {
        verdict
    } else {
        Verdict::Open
    };
    if let Verdict::Say(condition) = &verdict
        && condition.status != "True"
    {
        // What follows is for nodes to do.
        return finished(condition.clone());
    }
    let waits = deleting.is_some_and(|since| since < PATIENCE) && !workloads.is_empty();
    let ends = (recording.is_none() || deleting.is_some()) && !waits;
    let strategy = recording.and_then(|one| one.spec);
    let strategy = strategy.is_some_and(|(_, strategy)| strategy == MergeStrategy::Containers);
    let mut merged = BTreeSet::new();
    // Profiles that are to be merged are called so by whoever recorded them.
    if strategy || !observed.partials.is_empty() {
        steps.extend(merge_all(observed, ends, &mut merged));
    }
    if ends && !workloads.is_empty() {
        steps.push(warning(
            "RecordingIncomplete",
            format!(
                "the recording ends although nodes have not handed in what they recorded of: {}",
                workloads.join(", ")
            ),
        ));
    }
    let done = observed.partials.iter();
    let done: Vec<_> = done
        .filter(|one| merged.contains(&*one.container))
        .map(|one| (one.name.clone(), one.uid.clone()))
        .collect();
    if ends && !done.is_empty() {
        steps.push(Step::Delete(done));
    }
    if let Some(recording) = recording {
        let held = [
            (RECORDED, !ends && !workloads.is_empty()),
            (UNMERGED, !ends && !observed.partials.is_empty()),
        ];
        let finalizers = finalizers(&recording.finalizers, held, deleting.is_some());
        if finalizers != recording.finalizers {
            steps.push(Step::Finalizers(finalizers));
        }
    }
    if let Some(recording) = recording
        && recording.workloads != workloads
        && !ends
    {
        steps.push(Step::Workloads(workloads));
    }
    if let Some(Recording { progress, .. }) = recording
        && (progress.records && progress.started.is_none() && !ends)
    {
        steps.push(Step::Started(progress.now));
    }
    if let (true, Some(since)) = (waits, deleting) {
        steps.push(Step::Again(PATIENCE.saturating_sub(since)));
    }
    match verdict {
        Verdict::Open => {}
        Verdict::Later(after) => steps.push(Step::Again(after)),
        // What is due comes first, and changes the object.
        Verdict::Say(_) if steps.iter().any(Step::is_of_recording) => {}
        Verdict::Say(condition) => steps.extend(finished(condition)),
    }
    steps
}

/// Says that a rule has ended a recording: at first that it did, and then that all is there.
fn finished(condition: Condition) -> Vec<Step> {
    let Condition {
        status,
        reason,
        message,
        ..
    } = &condition;
    let incomplete = status == "True" && message.contains(NOT_HANDED_IN);
    let told = match &**status {
        "True" if incomplete => Some(warning("RecordingIncomplete", message.clone())),
        "True" => None,
        _ => Some(Step::Tell(Note {
            warning: reason == JOB_FAILED,
            reason: "RecordingFinished".to_owned(),
            message: message.clone(),
        })),
    };
    let said = Step::Finished(condition);
    [said].into_iter().chain(told).collect()
}

fn workloads(recording: &Recording) -> Vec<String> {
    let pods: BTreeSet<_> = recording.nodes.values().flatten().cloned().collect();
    pods.into_iter().collect()
}

/// No finalizer can be added to what is being deleted.
fn finalizers(known: &[String], held: [(&str, bool); 2], deleting: bool) -> Vec<String> {
    let mut finalizers = known.to_vec();
    for (name, held) in held {
        let there = finalizers.iter().any(|known| known == name);
        if !held {
            finalizers.retain(|known| known != name);
        } else if !there && !deleting {
            finalizers.push(name.to_owned());
        }
    }
    finalizers
}

/// Merges the profiles of each container; of which that was possible is added to `merged`.
fn merge_all<'o>(observed: &'o Observed, ends: bool, merged: &mut BTreeSet<&'o str>) -> Vec<Step> {
    let recording = observed.recording.as_ref();
    let kind = recording.and_then(|recording| Some(recording.spec?.0));
    // Once it is told, the finalizer goes.
    let holds =
        |name: &str| recording.is_some_and(|one| one.finalizers.iter().any(|own| own == name));
    let tell = |reason, message: &str| {
        let due = ends && holds(RECORDED) && !holds(UNMERGED);
        let note = due.then(|| warning(reason, message.to_owned()));
        note.into_iter().collect()
    };
    if kind.is_some_and(|kind| kind != ProfileKind::SeccompProfile) {
        return tell(
            "KindNotSupportedForMerge",
            "this version merges SeccompProfiles only",
        );
    }
    if observed.partials.is_empty() {
        return tell(
            "NoPartialProfiles",
            "there are no profiles to merge: nothing was recorded",
        );
    }
    let mut groups: BTreeMap<&str, Vec<&Partial>> = BTreeMap::new();
    for partial in &observed.partials {
        groups.entry(&partial.container).or_default().push(partial);
    }
    let mut steps = Vec::new();
    for (container, partials) in groups {
        match merge_one(observed, container, &partials, ends) {
            Ok(done) => {
                merged.insert(container);
                steps.extend(done);
            }
            Err(message) => steps.push(warning("CannotCreateUpdateMergedProfile", message)),
        }
    }
    steps
}

/// Merges the profiles of a container, or says why they stay as they are.
fn merge_one(
    observed: &Observed,
    container: &str,
    partials: &[&Partial],
    ends: bool,
) -> Result<Vec<Step>, String> {
    let [name, proposal] = places(&observed.name, container);
    let labels = BTreeMap::from([
        (RECORDING_ID.to_owned(), observed.name.clone()),
        (RECORDING_NAMESPACE.to_owned(), observed.namespace.clone()),
        (CONTAINER_ID.to_owned(), container.to_owned()),
    ]);
    let is_later = observed.later.is_some()
        && [&name, &proposal].into_iter().any(|place| {
            let present = observed.present.get(place);
            present.is_some_and(|present| {
                is_own(present, &labels)
                    && uid_of(&present.annotations) == observed.later.as_deref()
            })
        });
    if is_later {
        let names: Vec<_> = partials.iter().map(|one| one.name.clone()).collect();
        let message = format!(
            "of an earlier recording of this name came too late, and is left out: {}",
            few(&names)
        );
        return Ok(vec![warning("RecordingIncomplete", message)]);
    }
    let before = [&name, &proposal].into_iter().find_map(|place| {
        let present = observed.present.get(place)?;
        let is_ours = ends && is_own(present, &labels) && is_untouched(present);
        is_ours.then(|| ended(place, container, present, partials))?
    });
    let merged = match &before {
        None => whole(partials).map(Some),
        Some(before) => late(before, partials),
    };
    let merged =
        merged.map_err(|error| format!("the profiles of {container} cannot be merged: {error}"))?;
    let Some(Whole {
        spec,
        mut annotations,
    }) = merged
    else {
        return Ok(Vec::new());
    };
    if spec.syscalls.is_empty() {
        let message = format!("the profiles of {container} allow nothing, and so does {name}");
        return Ok(vec![warning("MergedEmptyProfile", message)]);
    }
    let recording = observed.recording.as_ref();
    let said = recording.and_then(|one| one.progress.finished.as_ref());
    if said.is_some_and(|said| said.reason == JOB_FAILED) {
        add(&mut annotations, FAILED);
    }
    for reason in recording
        .map(|one| reasons(one, container, ends))
        .unwrap_or_default()
    {
        add(&mut annotations, &reason);
    }
    if ends {
        annotations.insert(end_key(), "the recording was deleted".to_owned());
    }
    let profile = Profile {
        name,
        labels,
        annotations,
        spec,
    };
    let Put { write, proposed } = put(&observed.present, profile, proposal)?;
    let write = write.map(|profile| Step::Write(Box::new(profile)));
    let told = proposed.map(|message| {
        Step::Tell(Note {
            warning: false,
            reason: PROPOSED.to_owned(),
            message,
        })
    });
    Ok(write.into_iter().chain(told).collect())
}

/// What had been merged when the recording ended, if these are of the same one. Their like are gone.
fn ended(
    place: &str,
    container: &str,
    present: &Present,
    partials: &[&Partial],
) -> Option<Partial> {
    let uid = uid_of(&present.annotations);
    let is_same = partials.iter().all(|one| uid_of(&one.annotations) == uid);
    let has_ended = present.annotations.contains_key(&end_key());
    (is_same && has_ended).then(|| Partial {
        name: place.to_owned(),
        uid: None,
        container: container.to_owned(),
        annotations: present.annotations.clone(),
        spec: present.spec.clone(),
    })
}

/// The recording that a profile is of.
fn uid_of(annotations: &BTreeMap<String, String>) -> Option<&str> {
    let key = format!("{ANNOTATION_PREFIX}uid");
    annotations.get(&key).map(String::as_str)
}

fn end_key() -> String {
    format!("{ANNOTATION_PREFIX}end")
}

/// Why nodes have not all of a container, as far as they are heard of.
fn reasons(recording: &Recording, container: &str, ends: bool) -> Vec<String> {
    let has_finished = recording.progress.finished.is_some();
    let known = recording.incomplete.get(container);
    let mut reasons: Vec<_> = known.into_iter().flatten().cloned().collect();
    if !reasons.is_empty() && !ends && !has_finished {
        // Nodes count meanwhile, and each profile that is written is sent to all nodes.
        return vec![SEE_STATUS.to_owned()];
    }
    let more = reasons.len().saturating_sub(MOST);
    if more > 0 {
        reasons.truncate(MOST);
        reasons.push(format!("and {more} more"));
    }
    let finished = recording.progress.finished.as_ref();
    // Until then, they are waited for.
    let is_over = finished.is_some_and(|said| said.status == "True");
    if let Some(nodes) = recording.missing.get(container)
        && (ends || is_over)
    {
        let nodes: Vec<_> = nodes.iter().cloned().collect();
        reasons.push(format!("{NOT_HANDED_IN} {}", few(&nodes)));
    }
    reasons
}

/// Adds a reason why a profile is not complete, unless it says so already.
fn add(annotations: &mut BTreeMap<String, String>, reason: &str) {
    let known = annotations.entry(format!("{ANNOTATION_PREFIX}partial"));
    let known = known.or_default();
    if known.is_empty() {
        reason.clone_into(known);
    } else if !known.split("; ").any(|known| known == reason) {
        *known = format!("{known}; {reason}");
    }
}

fn warning(reason: &str, message: String) -> Step {
    Step::Tell(Note {
        warning: true,
        reason: reason.to_owned(),
        message,
    })
}

#[cfg(test)]
mod tests;
