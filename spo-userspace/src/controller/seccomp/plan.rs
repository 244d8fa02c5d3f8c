//! What is to be done about one file, as a function of what was observed.

use super::content::{Content, Refusal};
use crate::api::common::ProfileStatus;
use crate::api::node_status::NodeStatus;
use crate::api::node_status::Reason;
use crate::cluster::events::Note;
use crate::profile::few::few;

/// All that is known about one file.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// Those whose file it is, the one that has it first. Mostly there is one.
    pub(super) claimants: Vec<Claimant>,
    pub(super) file: FileState,
    /// Whether the journal says that we wrote it.
    pub(super) is_ours: bool,
}

/// A profile.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    pub(super) name: String,
    pub(super) generation: Option<i64>,
    pub(super) intent: Intent,
    /// The pods that use it, as the operator knows them.
    pub(super) users: Vec<String>,
    /// What this node said last; `None` if it said nothing.
    pub(super) status: Option<NodeStatus>,
}

/// What is to become of a profile.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    /// It is being deleted. Until it is released, pods may need it.
    Deleted(Option<Content>),
    /// It is being deleted, and nothing needs it any more.
    Released,
    /// It is not to be installed.
    Disabled,
    /// It is to be merged with others first.
    Partial,
    /// It is to be installed, if it can be.
    Install(Result<Content, Refusal>),
}

/// What is in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// Nothing.
    Missing,
    /// A file with this digest.
    Has(String),
    /// Something that is no profile's file.
    Other,
    /// The folder itself cannot be used; why, and whether it is gone with all that was in it.
    Unusable { why: String, gone: bool },
}

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
    let Observed {
        claimants,
        file,
        is_ours,
    } = observed;
    let Some((first, others)) = claimants.split_first() else {
        let step = match file {
            FileState::Unusable { .. } => FileStep::Leave,
            _ if *is_ours => FileStep::Remove,
            _ => FileStep::Leave,
        };
        return Plan::of(step, StatusStep::None);
    };
    let mut plan = match file {
        FileState::Unusable { why, gone } => without_folder(first, why, *gone),
        _ => for_first(first, file, *is_ours),
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

    fn said(&self, state: ProfileStatus) -> bool {
        let status = self.status.as_ref();
        status.and_then(|status| status.status) == Some(state)
    }

    /// Names some of the pods.
    fn pods(&self) -> String {
        few(&self.users)
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
fn warn_once(claimant: &Claimant, reason: Reason, message: &str) -> Option<Note> {
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
        return for_first(claimant, &FileState::Missing, false);
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

fn for_first(claimant: &Claimant, file: &FileState, is_ours: bool) -> Plan {
    let is_there = *file != FileState::Missing;
    let in_use = !claimant.users.is_empty();
    let removal = if is_there || is_ours {
        FileStep::Remove
    } else {
        FileStep::Leave
    };
    let unwanted = |state, why: &str| {
        if !(is_there && in_use) {
            return Plan::of(removal.clone(), StatusStep::Say(claimant.say(state)));
        }
        let message = format!(
            "{why}, but pods use it, and it stays until they are gone: {}",
            claimant.pods()
        );
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
        Intent::Install(Err(refusal)) => refused(claimant, refusal, file, removal),
        Intent::Install(Ok(content)) => install(claimant, content, file, is_ours),
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

fn refused(claimant: &Claimant, refusal: &Refusal, file: &FileState, removal: FileStep) -> Plan {
    let Refusal { reason, message } = refusal;
    let is_there = *file != FileState::Missing;
    let goes = *reason == Reason::ProfileNotAllowed && claimant.users.is_empty();
    let message = match (is_there, goes, reason) {
        (true, false, Reason::ProfileNotAllowed) => format!(
            "{message}\nit stays on the node until these pods are gone: {}",
            claimant.pods()
        ),
        (true, false, _) => {
            format!("{message}\nthe node still has the profile as it was before")
        }
        _ => message.clone(),
    };
    let said = claimant
        .say(ProfileStatus::Error)
        .because(*reason, &message);
    let (step, said) = if goes {
        (removal, said)
    } else {
        (FileStep::Leave, said.with_digest_of(file))
    };
    Plan {
        note: warn_once(claimant, *reason, &message),
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
        FileState::Missing => "was gone",
        _ => "had been changed",
    };
    Note {
        warning: true,
        reason: "RepairedSeccompProfile".to_owned(),
        message: format!(
            "the profile's file on the node {what} without the operator, and is as it should be again: find out who did that"
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
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn content() -> Content {
        Content {
            text: "{}".to_owned(),
            digest: "new".to_owned(),
        }
    }

    fn refusal(reason: Reason) -> Intent {
        let message = "because".to_owned();
        Intent::Install(Err(Refusal { reason, message }))
    }

    fn claimant(name: &str, intent: Intent) -> Claimant {
        Claimant {
            name: name.to_owned(),
            generation: Some(2),
            intent,
            users: Vec::new(),
            status: None,
        }
    }

    fn status(state: ProfileStatus, digest: Option<&str>) -> NodeStatus {
        NodeStatus {
            status: Some(state),
            digest: digest.map(str::to_owned),
            ..NodeStatus::default()
        }
    }

    fn line(plan: &Plan) -> String {
        let Plan {
            file,
            statuses,
            note,
            again,
        } = plan;
        let mut text = format!("{file:?}");
        for status in statuses {
            match status {
                StatusStep::Say(said) => {
                    let Say {
                        state,
                        reason,
                        message,
                        digest,
                        generation: _,
                    } = said;
                    write!(text, " | {state}").unwrap();
                    if let Some(reason) = reason {
                        write!(text, " {reason}").unwrap();
                    }
                    if let Some(digest) = digest {
                        write!(text, " {digest}").unwrap();
                    }
                    if let Some(message) = message {
                        write!(text, " {message:?}").unwrap();
                    }
                }
                other => write!(text, " | {other:?}").unwrap(),
            }
        }
        if let Some(note) = note {
            let kind = if note.warning { "warning" } else { "event" };
            write!(text, " | {kind} {}", note.reason).unwrap();
        }
        if *again {
            text.push_str(" | again");
        }
        text
    }

    fn has(digest: &str) -> FileState {
        FileState::Has(digest.to_owned())
    }

    fn unusable(gone: bool) -> FileState {
        FileState::Unusable {
            why: "why".to_owned(),
            gone,
        }
    }

    /// Every intent, with every state of the file, used by pods or not.
    #[test]
    fn every_state() {
        let intents = [
            ("install", Intent::Install(Ok(content()))),
            ("invalid", refusal(Reason::InvalidSeccompProfile)),
            ("unsupported", refusal(Reason::Unsupported)),
            ("not allowed", refusal(Reason::ProfileNotAllowed)),
            ("disabled", Intent::Disabled),
            ("partial", Intent::Partial),
            ("deleted", Intent::Deleted(Some(content()))),
            ("deleted, not to be known", Intent::Deleted(None)),
            ("released", Intent::Released),
        ];
        let files = [
            ("missing", FileState::Missing),
            ("same", has("new")),
            ("old", has("old")),
            ("other", FileState::Other),
            ("folder gone", unusable(true)),
            ("folder unusable", unusable(false)),
        ];
        let said = [
            ("nothing said", None),
            (
                "said Installed new",
                Some(status(ProfileStatus::Installed, Some("new"))),
            ),
            (
                "said Installed old",
                Some(status(ProfileStatus::Installed, Some("old"))),
            ),
        ];
        let mut text = String::new();
        for (intent_name, intent) in &intents {
            for (file_name, file) in &files {
                // What does not depend on the rest is one line.
                let mut lines: Vec<(String, Vec<String>)> = Vec::new();
                for (said_name, said) in &said {
                    for users in [Vec::new(), vec!["ns/pod".to_owned()]] {
                        let used = if users.is_empty() { "" } else { ", used" };
                        let observed = Observed {
                            claimants: vec![Claimant {
                                users,
                                status: said.clone(),
                                ..claimant("a", intent.clone())
                            }],
                            file: file.clone(),
                            is_ours: *file != FileState::Missing,
                        };
                        let line = line(&plan(&observed));
                        let case = format!("{said_name}{used}");
                        match lines.iter_mut().find(|(known, _)| *known == line) {
                            Some((_, cases)) => cases.push(case),
                            None => lines.push((line, vec![case])),
                        }
                    }
                }
                let always = lines.len() == 1;
                for (line, cases) in lines {
                    let cases = if always {
                        "always".to_owned()
                    } else {
                        cases.join("; ")
                    };
                    writeln!(text, "{intent_name}, {file_name} ({cases}): {line}").unwrap();
                }
            }
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn files_without_a_profile_go_only_if_they_are_ours() {
        let gone = |file, is_ours| {
            let observed = Observed {
                claimants: Vec::new(),
                file,
                is_ours,
            };
            plan(&observed).file
        };
        assert_eq!(gone(has("old"), true), FileStep::Remove);
        assert_eq!(gone(FileState::Missing, true), FileStep::Remove);
        assert_eq!(gone(has("old"), false), FileStep::Leave);
        assert_eq!(gone(FileState::Other, false), FileStep::Leave);
        assert_eq!(gone(unusable(true), true), FileStep::Leave);
    }

    #[test]
    fn what_was_there_before_becomes_ours() {
        let observed = Observed {
            claimants: vec![claimant("a", Intent::Install(Ok(content())))],
            file: has("new"),
            is_ours: false,
        };
        assert_eq!(plan(&observed).file, FileStep::Adopt);
    }

    #[test]
    fn the_older_of_two_has_the_file() {
        let install = || Intent::Install(Ok(content()));
        let mut text = String::new();
        let younger = [
            ("install", install()),
            ("disabled", Intent::Disabled),
            ("partial", Intent::Partial),
            ("deleted", Intent::Deleted(None)),
            ("released", Intent::Released),
        ];
        for (name, intent) in younger {
            for said in [None, Some(status(ProfileStatus::Error, None))] {
                let observed = Observed {
                    claimants: vec![
                        claimant("a", install()),
                        Claimant {
                            status: said.clone(),
                            ..claimant("a.json", intent.clone())
                        },
                    ],
                    file: FileState::Missing,
                    is_ours: false,
                };
                let said = said.map_or("", |_| ", said Error");
                writeln!(text, "{name}{said}: {}", line(&plan(&observed))).unwrap();
            }
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_failure_is_said_once_and_tried_again() {
        let mut observed = Observed {
            claimants: vec![claimant("a", Intent::Install(Ok(content())))],
            file: has("old"),
            is_ours: true,
        };
        let planned = plan(&observed);
        let reason = Reason::CannotSaveSeccompProfile;
        let first = failed(&observed, &planned, reason, "disk full");
        insta::assert_snapshot!(line(&first), @r#"Leave | Error CannotSaveSeccompProfile old "disk full" | warning CannotSaveSeccompProfile | again"#);
        observed.claimants[0].status = Some(NodeStatus {
            status: Some(ProfileStatus::Error),
            reason: Some(reason.to_string()),
            message: Some("disk full".to_owned()),
            ..NodeStatus::default()
        });
        let second = failed(&observed, &planned, reason, "disk full");
        assert_eq!(second.note, None);
    }

    #[test]
    fn many_pods_are_some_and_a_number() {
        let mut claimant = claimant("a", Intent::Deleted(None));
        claimant.users = (0..9).map(|number| format!("ns/{number}")).collect();
        assert_eq!(claimant.pods(), "ns/0, ns/1, ns/2 and 6 more");
    }
}
