//! `spo verify`: whether containers have their profiles, as a table or as JSON.

use std::process::ExitCode;

use anyhow::Context as _;

use super::args::{Form, VerifyArgs};
use super::columns;
use super::exit::{FAILED, Failure, MISMATCH, UNKNOWN};
use super::node::event_loop;
use super::progress::{line, output};
use crate::profile::diagnostic::escape;
use crate::verify::{self, Container, File, FileState, Report, Settings};

const HEADS: [&str; 5] = ["NAMESPACE", "POD", "CONTAINER", "PROFILE", "STATE"];

/// Verifies, and says by the exit code what was found.
pub(super) fn run(args: VerifyArgs) -> Result<ExitCode, Failure> {
    let VerifyArgs {
        pod,
        node,
        namespace,
        output: form,
        root,
    } = args;
    let node = match node {
        Some(node) => node,
        None => host_name().map_err(failed)?,
    };
    let settings = Settings {
        node,
        namespace,
        folder: root,
        pod,
    };
    let runtime = event_loop().map_err(failed)?;
    let report = runtime
        .block_on(verify::verify(&settings))
        .map_err(failed)?;
    match form {
        Form::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(failed)?;
            output(&format!("{text}\n"))?;
        }
        Form::Table if report.containers.is_empty() && report.not_looked_at.is_empty() => {
            line(format_args!(
                "no container of a pod runs on the node {}",
                escape(&report.node)
            ));
        }
        Form::Table => output(&table(&report))?,
    }
    Ok(code(&report))
}

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(FAILED, error)
}

fn host_name() -> Result<String, anyhow::Error> {
    let name = nix::unistd::gethostname().context("this machine has no name: give --node")?;
    // Kubelets take the host's name in small letters.
    Ok(name.to_string_lossy().to_lowercase())
}

fn code(report: &Report) -> ExitCode {
    if report.is_wrong() {
        ExitCode::from(MISMATCH)
    } else if report.is_unknown() || !report.has_profiles() {
        ExitCode::from(UNKNOWN)
    } else {
        ExitCode::SUCCESS
    }
}

fn table(report: &Report) -> String {
    let containers = report.containers.iter();
    let rows: Vec<_> = containers.map(|one| (row(one), details(one))).collect();
    let mut text = columns::table(HEADS, &rows);
    for file in &report.files {
        if let Some(told) = told(file) {
            text.extend([&told, "\n"]);
        }
    }
    for why in &report.not_looked_at {
        text.extend(["not known: ", &escape(why), "\n"]);
    }
    text
}

fn row(container: &Container) -> [String; 5] {
    let Container {
        namespace,
        pod,
        container,
        id: _,
        profile,
        state,
        reasons: _,
        more: _,
        notes: _,
    } = container;
    [
        escape(namespace),
        escape(pod),
        escape(container),
        profile
            .as_ref()
            .map_or_else(|| "-".to_owned(), |name| escape(name)),
        format!("{state:?}"),
    ]
}

fn details(container: &Container) -> Vec<String> {
    let mut details: Vec<_> = container
        .reasons
        .iter()
        .map(|reason| escape(reason))
        .collect();
    if container.more > 0 {
        details.push(format!("and {} more differences", container.more));
    }
    let notes = container.notes.iter();
    details.extend(notes.map(|note| format!("note: {}", escape(note))));
    details
}

fn told(file: &File) -> Option<String> {
    let File {
        profile,
        state,
        reason,
    } = file;
    let profile = escape(profile);
    let reason = escape(reason.as_deref().unwrap_or_default());
    match state {
        FileState::Same => None,
        FileState::Differs => Some(format!("profile {profile}: {reason}")),
        FileState::Missing => Some(format!("profile {profile}: its file is not on the node")),
        FileState::Unknown => Some(format!(
            "profile {profile}: it is not known whether its file is right: {reason}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::FileState::{Differs, Missing, Same, Unknown};
    use super::*;
    use crate::verify::State;

    fn container(pod: &str, state: State, reasons: &[&str]) -> Container {
        Container {
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
            container: "app".to_owned(),
            id: "1".to_owned(),
            profile: (state != State::NoProfile).then(|| "web".to_owned()),
            state,
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            more: 0,
            notes: Vec::new(),
        }
    }

    fn report(containers: Vec<Container>, file: FileState) -> Report {
        let file = File {
            profile: "web".to_owned(),
            state: file,
            reason: (file == FileState::Unknown).then(|| "no object".to_owned()),
        };
        Report {
            node: "n".to_owned(),
            containers,
            files: vec![file],
            not_looked_at: Vec::new(),
        }
    }

    #[test]
    fn everything_is_told_and_nothing_reaches_the_terminal_as_it_is() {
        let mut bad = container("bad\u{1b}[31m", State::Mismatch, &["openat: \u{7}"]);
        bad.more = 3;
        bad.notes.push("a note".to_owned());
        let mut report = report(
            vec![bad, container("good", State::Verified, &[])],
            FileState::Missing,
        );
        report.not_looked_at.push("who\u{7}".to_owned());
        insta::assert_snapshot!(table(&report));
    }

    #[test]
    fn the_worst_decides_the_exit_code() {
        let of = |states: &[State], file| {
            let containers = states.iter().map(|state| container("p", *state, &[]));
            format!("{:?}", code(&report(containers.collect(), file)))
        };
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(of(&[State::Verified, State::NoProfile], Same), is(0));
        assert_eq!(of(&[State::NoProfile], Same), is(UNKNOWN));
        assert_eq!(of(&[State::Verified, State::Unknown], Same), is(UNKNOWN));
        assert_eq!(of(&[State::Unknown, State::Stale], Same), is(MISMATCH));
        assert_eq!(of(&[State::Unknown, State::Mismatch], Same), is(MISMATCH));
        assert_eq!(of(&[State::Unbound], Same), is(MISMATCH));
        let mut unsure = report(vec![container("p", State::Verified, &[])], Same);
        unsure.not_looked_at.push("bindings".to_owned());
        assert_eq!(format!("{:?}", code(&unsure)), is(UNKNOWN));
        assert_eq!(of(&[State::Verified], Differs), is(MISMATCH));
        assert_eq!(of(&[State::Verified], Missing), is(MISMATCH));
        assert_eq!(of(&[State::Verified], Unknown), is(UNKNOWN));
    }
}
