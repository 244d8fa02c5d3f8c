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
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::api::names::NOT_ALLOWED;
    use crate::api::node_status::NodeStatus;
    use crate::controller::seccomp::seen::Word;

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
            word: Word::default(),
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

    fn looked(state: ProfileStatus, reason: &str) -> Word {
        Word {
            state: Some(state),
            reason: Some(reason.to_owned()),
            generation: Some(2),
        }
    }

    /// Every intent, with every state of the file, ours or not, used by pods or not, whatever was said.
    #[test]
    fn every_state() {
        use ProfileStatus::{Error, Installed};
        let intents = [
            ("install", Intent::Install(Ok(content()))),
            ("invalid", refusal(Reason::InvalidSeccompProfile)),
            ("not allowed", refusal(Reason::ProfileNotAllowed)),
            ("base not allowed", refusal(Reason::BaseNotAllowed)),
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
            ("unreadable", FileState::Unreadable),
            ("folder gone", unusable(true)),
            ("folder unusable", unusable(false)),
        ];
        let this = |status: NodeStatus| NodeStatus {
            observed_generation: Some(2),
            ..status
        };
        let refused = NodeStatus {
            reason: Some("NoLongerAllowed".to_owned()),
            ..status(Error, None)
        };
        let said = [
            ("nothing said", None),
            ("said new", Some(status(Installed, Some("new")))),
            ("said old", Some(status(Installed, Some("old")))),
            ("said this", Some(this(status(Installed, Some("new"))))),
            ("said no longer", Some(this(refused))),
        ];
        let words = [
            ("no word", Word::default()),
            ("seen", looked(Installed, "Available")),
            (
                "seen as partial",
                looked(ProfileStatus::Partial, "Unavailable"),
            ),
            ("seen as not allowed", looked(Error, NOT_ALLOWED)),
        ];
        let dimensions = [
            said.each_ref().map(|(name, _)| *name).to_vec(),
            vec!["free", "used"],
            words.each_ref().map(|(name, _)| *name).to_vec(),
            vec!["ours", "theirs"],
            vec!["allowed", "forbidden"],
        ];
        let mut text = String::new();
        for (intent_name, intent) in &intents {
            for (file_name, file) in &files {
                let outcome = |case: &[usize]| {
                    let &[said_at, used, word, theirs, forbidden] = case else {
                        panic!("a value for each dimension: {case:?}")
                    };
                    let observed = Observed {
                        claimants: vec![Claimant {
                            users: vec!["ns/pod".to_owned(); used],
                            status: said[said_at].1.clone(),
                            word: words[word].1.clone(),
                            ..claimant("a", intent.clone())
                        }],
                        file: file.clone(),
                        is_ours: theirs == 0,
                        is_allowed: forbidden == 0,
                    };
                    line(&plan(&observed))
                };
                writeln!(text, "{intent_name}, {file_name}").unwrap();
                for line in tree(&dimensions, &mut Vec::new(), &outcome) {
                    writeln!(text, "    {line}").unwrap();
                }
            }
        }
        insta::assert_snapshot!(text);
    }

    /// What comes out, by the dimensions that it depends on.
    fn tree(
        dimensions: &[Vec<&str>],
        case: &mut Vec<usize>,
        outcome: &impl Fn(&[usize]) -> String,
    ) -> Vec<String> {
        let Some(values) = dimensions.get(case.len()) else {
            return vec![outcome(case)];
        };
        let mut groups: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
        for (number, value) in values.iter().enumerate() {
            case.push(number);
            let below = tree(dimensions, case, outcome);
            case.pop();
            match groups.iter_mut().find(|(_, known)| *known == below) {
                Some((names, _)) => names.push(value),
                None => groups.push((vec![value], below)),
            }
        }
        if let [(_, below)] = &mut groups[..] {
            return std::mem::take(below);
        }
        let mut lines = Vec::new();
        for (names, below) in groups {
            let names = names.join(", ");
            match &below[..] {
                [one] => lines.push(format!("{names}: {one}")),
                many => {
                    lines.push(format!("{names}:"));
                    lines.extend(many.iter().map(|line| format!("    {line}")));
                }
            }
        }
        lines
    }

    /// By this, the operator deletes profiles.
    #[test]
    fn a_node_had_a_profile_if_it_had_this_very_version() {
        use ProfileStatus::{Error, Installed, Terminating};
        let no_longer = Reason::NoLongerAllowed;
        for (state, reason, observed, generation, had) in [
            (Installed, None, Some(2), Some(2), true),
            (Installed, None, Some(1), Some(2), false),
            (Installed, None, None, Some(2), false),
            (Installed, None, None, None, false),
            (Installed, Some(Reason::InUse), Some(2), Some(2), false),
            (Error, Some(no_longer), Some(2), Some(2), true),
            (Error, Some(no_longer), Some(1), Some(2), false),
            (
                Error,
                Some(Reason::ProfileNotAllowed),
                Some(2),
                Some(2),
                false,
            ),
            (Terminating, None, Some(2), Some(2), false),
        ] {
            let mut claimant = claimant("a", Intent::Disabled);
            claimant.generation = generation;
            claimant.status = Some(NodeStatus {
                reason: reason.map(|reason| reason.to_string()),
                observed_generation: observed,
                ..status(state, None)
            });
            let case = (state, reason, observed, generation);
            assert_eq!(claimant.had_this(), had, "{case:?}");
        }
    }

    #[test]
    fn without_a_version_nobody_has_looked() {
        let mut claimant = claimant("a", Intent::Disabled);
        claimant.word = looked(ProfileStatus::Disabled, "Unavailable");
        assert_eq!(claimant.needs(), None);
        (claimant.generation, claimant.word.generation) = (None, None);
        assert!(claimant.needs().is_some());
    }

    #[test]
    fn only_what_was_installed_is_repaired() {
        for (state, reason) in [
            (ProfileStatus::Installed, "RepairedSeccompProfile"),
            (ProfileStatus::Error, "SavedSeccompProfile"),
        ] {
            let mut claimant = claimant("a", Intent::Install(Ok(content())));
            claimant.status = Some(status(state, Some("new")));
            let observed = Observed {
                claimants: vec![claimant],
                file: FileState::Missing,
                is_ours: true,
                is_allowed: true,
            };
            assert_eq!(plan(&observed).note.unwrap().reason, reason);
        }
    }

    #[test]
    fn files_without_a_profile_go_only_if_they_are_ours() {
        let gone = |file, is_ours| {
            let observed = Observed {
                claimants: Vec::new(),
                file,
                is_ours,
                is_allowed: true,
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
            is_allowed: true,
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
                    is_allowed: false,
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
            is_allowed: true,
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
