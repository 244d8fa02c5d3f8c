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
