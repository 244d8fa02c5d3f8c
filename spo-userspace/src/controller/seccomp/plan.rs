//! What is to be done about one file, as a function of what was observed.

use super::content::{Content, Refusal};
use super::seen::{Claimant, FileState, Intent, Observed};
use crate::api::common::ProfileStatus;
use crate::api::node_status::Reason;
use crate::cluster::events::Note;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) file: FileStep,
    /// For each claimant.
    pub(super) statuses: Vec<StatusStep>,
    /// For the first claimant, once the file is as planned.
    pub(super) note: Option<Note>,
    /// Nothing tells when the folder can be used again, so this has to be tried again.
    pub(super) again: bool,
}

/// What is to be done about the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileStep {
    /// Nothing.
    Leave,
    /// It is right, and is ours from now on.
    Adopt,
    /// It gets this content.
    Write(String),
    /// It goes.
    Remove,
}

/// What is to be done about this node's status of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StatusStep {
    /// There is to be none, and there is none.
    None,
    /// It is to say this.
    Say(Say),
    /// It goes.
    Delete,
}

/// What a status is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Say {
    pub(super) state: ProfileStatus,
    pub(super) reason: Option<Reason>,
    pub(super) message: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) generation: Option<i64>,
}

/// The plan for a file.
pub(super) fn plan(observed: &Observed) -> Plan {
    let Some((first, others)) = observed.claimants.split_first() else {
        let step = match observed.file {
            FileState::Unusable { .. } => FileStep::Leave,
            _ if observed.is_ours => FileStep::Remove,
            _ => FileStep::Leave,
        };
        return Plan::of(step, StatusStep::None);
    };
    let mut plan = match &observed.file {
        FileState::Unusable { why, gone } => without_folder(first, why, *gone),
        _ => for_first(first, observed),
    };
    let others = others.iter().map(|other| for_other(other, first));
    plan.statuses.extend(others);
    plan
}

/// What is left to say when the file could not be written or removed as planned.
pub(super) fn failed(observed: &Observed, planned: &Plan, reason: Reason, why: &str) -> Plan {
    let mut plan = Plan {
        file: FileStep::Leave,
        note: None,
        again: true,
        ..planned.clone()
    };
    if let (Some(status), Some(first)) = (plan.statuses.first_mut(), observed.claimants.first()) {
        let said = first.say(ProfileStatus::Error).because(reason, why);
        *status = StatusStep::Say(said.with_digest_of(&observed.file));
        plan.note = warn_once(first, reason, why);
    }
    plan
}

impl Plan {
    fn of(file: FileStep, status: StatusStep) -> Self {
        Self {
            file,
            statuses: vec![status],
            note: None,
            again: false,
        }
    }
}

impl Claimant {
    fn say(&self, state: ProfileStatus) -> Say {
        Say {
            state,
            reason: None,
            message: None,
            digest: None,
            generation: self.generation,
        }
    }
}

impl Say {
    fn because(self, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason: Some(reason),
            message: Some(message.into()),
            ..self
        }
    }

    fn with_digest_of(self, file: &FileState) -> Self {
        let digest = match file {
            FileState::Has(digest) => Some(digest.clone()),
            _ => None,
        };
        Self { digest, ..self }
    }
}

/// An event for what a status says, unless the status says it already.
pub(super) fn warn_once(claimant: &Claimant, reason: Reason, message: &str) -> Option<Note> {
    let said = claimant.status.as_ref().is_some_and(|status| {
        status.reason.as_deref() == Some(reason.to_string().as_str())
            && status.message.as_deref() == Some(message)
            && status.status == Some(ProfileStatus::Error)
    });
    (!said).then(|| Note {
        warning: true,
        reason: reason.to_string(),
        message: message.to_owned(),
    })
}

fn without_folder(claimant: &Claimant, why: &str, gone: bool) -> Plan {
    let needs_it = match claimant.intent {
        Intent::Install(_) => true,
        Intent::Disabled | Intent::Partial => !gone,
        Intent::Deleted(_) => needed(claimant, &FileState::Missing).is_some(),
        // What was said to be gone is not said to be there again.
        Intent::Released => !gone && claimant.status.is_some(),
    };
    if !needs_it {
        let nothing = Observed {
            claimants: Vec::new(),
            file: FileState::Missing,
            is_ours: false,
            is_allowed: true,
        };
        return for_first(claimant, &nothing);
    }
    let message = format!(
        "{why}; the operator restarts its pod on this node, which sets the folder up again; if that does not help, look at the node's disk"
    );
    let said = claimant.say(ProfileStatus::Error);
    let said = said.because(Reason::FolderUnusable, &message);
    Plan {
        again: true,
        note: warn_once(claimant, Reason::FolderUnusable, &message),
        ..Plan::of(FileStep::Leave, StatusStep::Say(said))
    }
}

/// What of the folder is `observed` counts.
fn for_first(claimant: &Claimant, observed: &Observed) -> Plan {
    let Observed { file, is_ours, .. } = observed;
    let is_there = *file != FileState::Missing;
    let removal = if is_there || *is_ours {
        FileStep::Remove
    } else {
        FileStep::Leave
    };
    let unwanted = |state, why: &str| {
        let Some(needs) = claimant.needs().filter(|_| is_there) else {
            return Plan::of(removal.clone(), StatusStep::Say(claimant.say(state)));
        };
        let message = format!("{why}, but its file stays {needs}");
        let said = claimant.say(ProfileStatus::Installed);
        let said = said.because(Reason::InUse, message).with_digest_of(file);
        Plan::of(FileStep::Leave, StatusStep::Say(said))
    };
    match &claimant.intent {
        Intent::Released => {
            let status = match claimant.status {
                Some(_) => StatusStep::Delete,
                None => StatusStep::None,
            };
            Plan::of(removal, status)
        }
        Intent::Deleted(_) => match needed(claimant, file) {
            Some(content) => Plan {
                note: Some(repaired(file)),
                ..Plan::of(
                    FileStep::Write(content.text.clone()),
                    terminating(claimant, &FileState::Has(content.digest.clone())),
                )
            },
            None => Plan::of(FileStep::Leave, terminating(claimant, file)),
        },
        Intent::Disabled => unwanted(ProfileStatus::Disabled, "the profile is disabled"),
        Intent::Partial => unwanted(ProfileStatus::Partial, "the profile is partial"),
        Intent::Install(Err(refusal)) => refused(claimant, refusal, observed, removal),
        Intent::Install(Ok(content)) => install(claimant, content, file, *is_ours),
    }
}

/// What is to be in the file of a profile that is being deleted, if pods need it and it is not there:
/// what the profile says, unless this node said that it had another content.
fn needed<'a>(claimant: &'a Claimant, file: &FileState) -> Option<&'a Content> {
    let (Intent::Deleted(Some(content)), Some(status)) = (&claimant.intent, &claimant.status)
    else {
        return None;
    };
    let is_lost = match (&status.digest, file) {
        (Some(said), FileState::Has(there)) => *said == content.digest && *there != *said,
        (Some(said), _) => *said == content.digest,
        // Whether a file that is there is as it was, nobody said.
        (None, file) => *file == FileState::Missing,
    };
    (is_lost && !claimant.users.is_empty()).then_some(content)
}

fn terminating(claimant: &Claimant, file: &FileState) -> StatusStep {
    if claimant.status.is_none() && *file == FileState::Missing {
        return StatusStep::None;
    }
    let said = claimant.say(ProfileStatus::Terminating);
    let said = if claimant.users.is_empty() {
        said
    } else {
        let pods = claimant.pods();
        let message = match file {
            FileState::Missing => {
                format!(
                    "pods use the profile, but the node has no file of it, so that none can start: {pods}"
                )
            }
            _ => format!("pods use the profile, and it stays until they are gone: {pods}"),
        };
        said.because(Reason::InUse, message)
    };
    StatusStep::Say(said.with_digest_of(file))
}

/// What was there before stays, unless that is not allowed, either.
fn refused(claimant: &Claimant, refusal: &Refusal, observed: &Observed, removal: FileStep) -> Plan {
    let Observed {
        file,
        is_ours,
        is_allowed,
        ..
    } = observed;
    let Refusal { reason, message } = refusal;
    let is_forbidden =
        matches!(reason, Reason::ProfileNotAllowed | Reason::BaseNotAllowed) && !is_allowed;
    let reason = match reason {
        Reason::ProfileNotAllowed if claimant.had_this() => Reason::NoLongerAllowed,
        reason => *reason,
    };
    let needs = claimant.needs();
    let goes = is_forbidden && needs.is_none();
    let left = match (file, needs) {
        (FileState::Missing, _) => None,
        _ if goes => None,
        (_, Some(needs)) if is_forbidden => Some(format!("its file stays {needs}")),
        _ if *is_ours => Some("the node still has the profile as it was before".to_owned()),
        _ => Some("the node has a file of its name that is not the operator's".to_owned()),
    };
    let message = match left {
        Some(left) => format!("{message}\n{left}"),
        None => message.clone(),
    };
    let said = claimant.say(ProfileStatus::Error);
    let said = said.because(reason, &message);
    let (step, said) = match goes {
        true => (removal, said),
        false if *is_ours => (FileStep::Leave, said.with_digest_of(file)),
        false => (FileStep::Leave, said),
    };
    Plan {
        note: warn_once(claimant, reason, &message),
        ..Plan::of(step, StatusStep::Say(said))
    }
}

fn install(claimant: &Claimant, content: &Content, file: &FileState, is_ours: bool) -> Plan {
    let Content { text, digest } = content;
    let said = Say {
        digest: Some(digest.clone()),
        ..claimant.say(ProfileStatus::Installed)
    };
    let status = StatusStep::Say(said);
    if matches!(file, FileState::Has(there) if there == digest) {
        let step = if is_ours {
            FileStep::Leave
        } else {
            FileStep::Adopt
        };
        return Plan::of(step, status);
    }
    let was_there = claimant.said(ProfileStatus::Installed)
        && claimant
            .status
            .as_ref()
            .is_some_and(|status| status.digest.as_ref() == Some(digest));
    let note = if was_there {
        repaired(file)
    } else {
        Note {
            warning: false,
            reason: "SavedSeccompProfile".to_owned(),
            message: format!("the profile is on the node, {digest}"),
        }
    };
    Plan {
        note: Some(note),
        ..Plan::of(FileStep::Write(text.clone()), status)
    }
}

fn repaired(file: &FileState) -> Note {
    let what = match file {
        FileState::Missing => "was gone without the operator",
        FileState::Unreadable => "could not be read",
        _ => "had been changed without the operator",
    };
    let who = match file {
        FileState::Unreadable => "the disk may be failing",
        _ => "find out who did that",
    };
    Note {
        warning: true,
        reason: "RepairedSeccompProfile".to_owned(),
        message: format!(
            "the profile's file on the node {what}, and is as it should be again: {who}"
        ),
    }
}

/// A profile whose file another one has.
fn for_other(claimant: &Claimant, first: &Claimant) -> StatusStep {
    match &claimant.intent {
        Intent::Released if claimant.status.is_some() => StatusStep::Delete,
        Intent::Released => StatusStep::None,
        Intent::Deleted(_) => terminating(claimant, &FileState::Missing),
        Intent::Disabled => StatusStep::Say(claimant.say(ProfileStatus::Disabled)),
        Intent::Partial => StatusStep::Say(claimant.say(ProfileStatus::Partial)),
        Intent::Install(_) => {
            let message = format!(
                "the older profile {} has the same file on the nodes: rename one of them",
                first.name
            );
            let said = claimant.say(ProfileStatus::Error);
            StatusStep::Say(said.because(Reason::NameCollision, message))
        }
    }
}

#[cfg(test)]
mod tests;
