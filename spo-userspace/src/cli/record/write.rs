//! From what a recording left to files, and a summary.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::super::args::RecordKind;
use super::super::exit::Failure;
use super::super::held::shown;
use super::super::progress::line;
use super::add;
use super::session::{Ending, Finished};
use crate::event::{Call, Observation, Phase, SubjectObservation};
use crate::node::output::{self, Output};
use crate::node::process;
use crate::profile::arch::Arch;
use crate::profile::seccomp::{write_object, write_raw};
use crate::recorder::{Recorded, Settings, record};

/// What to write where.
pub(super) struct Request<'a> {
    pub(super) kind: RecordKind,
    pub(super) output: Output,
    pub(super) path: &'a Path,
    pub(super) host: Arch,
    pub(super) kernel: String,
    pub(super) base: Vec<String>,
    pub(super) name: String,
    pub(super) partial: Vec<String>,
    pub(super) blocked: &'a BTreeSet<Call>,
    /// All namespaces make one profile.
    pub(super) everything: bool,
}

/// Writes the profiles, and tells about them.
pub(super) fn write(
    mut request: Request<'_>,
    finished: Finished,
    ending: Ending,
) -> Result<(), Failure> {
    let Finished {
        mut observation,
        partial,
        containers,
    } = finished;
    request.partial.extend(partial);
    if let Ending::Unended(_) = ending {
        request.partial.push("the command had not ended".to_owned());
    }
    for subject in &mut observation.subjects {
        if subject.phase == Phase::Workload {
            add(&mut subject.calls, request.blocked);
        }
    }
    if request.everything {
        request.partial.extend(merge_unbegun(&mut observation));
    }
    let mut recorded = Vec::new();
    let mut names = BTreeSet::new();
    for subject in &observation.subjects {
        if let Some(settings) = settings(&request, subject, &observation, &mut names) {
            let settings = Settings {
                container: containers.get(&subject.index).cloned(),
                ..settings
            };
            recorded.push(record(subject, observation.losses, &settings));
        }
    }
    if recorded.is_empty() {
        let lost = observation.losses.lost();
        return Err(
            anyhow!("nothing was recorded (lost: {lost}), so no profile was written").into(),
        );
    }
    let Request {
        kind, output, path, ..
    } = request;
    let texts: Vec<String> = recorded
        .iter()
        .map(|recorded| text(kind, recorded))
        .collect::<Result<_>>()?;
    match (texts.as_slice(), &output) {
        ([only], _) => {
            write_one(output, path, only)?;
            tell(&recorded[0], path);
        }
        (several, Output::Standard | Output::Special(_)) => {
            let separator = if kind == RecordKind::Seccomp {
                "---\n"
            } else {
                ""
            };
            write_one(output, path, &several.join(separator))?;
            for recorded in &recorded {
                tell(recorded, path);
            }
        }
        (several, _) => {
            drop(output);
            for (recorded, text) in recorded.iter().zip(several) {
                let path = named(path, &recorded.profile.metadata.name);
                let output = Output::prepare_file(&path)
                    .with_context(|| format!("cannot write {}", shown(path.as_os_str())))?;
                write_one(output, &path, text)?;
                tell(recorded, &path);
            }
        }
    }
    Ok(())
}

/// Adds the calls of namespaces in which no workload was seen to begin: they may all be a runtime's, but without them the
/// profile might lack some. Returns what to say about it.
fn merge_unbegun(observation: &mut Observation) -> Option<String> {
    let (unbegun, mut rest): (Vec<_>, Vec<_>) = std::mem::take(&mut observation.subjects)
        .into_iter()
        .partition(|subject| subject.phase == Phase::Setup);
    let calls: BTreeSet<Call> = unbegun
        .iter()
        .flat_map(|subject| subject.calls.iter().copied())
        .collect();
    if let Some(first) = rest.first_mut() {
        add(&mut first.calls, &calls);
        first.unnamed.extend(
            unbegun
                .iter()
                .flat_map(|subject| subject.unnamed.iter().copied()),
        );
    }
    observation.subjects = rest;
    (!unbegun.is_empty()).then(|| {
        format!(
            "in {} mount namespaces the begin of a workload was not recognised: all their calls are in the profile",
            unbegun.len()
        )
    })
}

/// What the profile of a subject is made with; none for what gets no profile.
fn settings(
    request: &Request<'_>,
    subject: &SubjectObservation,
    observation: &Observation,
    names: &mut BTreeSet<String>,
) -> Option<Settings> {
    let mut partial = request.partial.clone();
    let mut base_name = request.name.clone();
    let of_a_namespace = subject.namespace_id != 0;
    match subject.phase {
        Phase::HandedOver => return None,
        Phase::Setup if !subject.executed => {
            line(format_args!(
                "no profile for a mount namespace of {} ({} syscalls): no program was executed in it",
                subject.comm,
                subject.calls.len()
            ));
            return None;
        }
        Phase::Setup => partial.push(
            "the begin of the workload was not recognised: calls of the container's runtime may be among these".to_owned(),
        ),
        Phase::Workload | Phase::Entered => {}
    }
    if of_a_namespace {
        base_name = subject.comm.to_string();
        // The inode number may be a later namespace's by now.
        let is_last = observation.subjects.iter().all(|other| {
            other.namespace_inum != subject.namespace_inum
                || other.namespace_id <= subject.namespace_id
        });
        if is_last
            && process::in_mount_namespace(subject.namespace_inum)
                .is_ok_and(|remaining| !remaining.is_empty())
        {
            partial.push("the container went on after the recording ended".to_owned());
        }
    } else if subject.calls.is_empty() && subject.unnamed.is_empty() {
        return None;
    }
    let name = unused_name(object_name(&base_name), names);
    let since = |time: u64| Duration::from_nanos(observation.ended_ns.saturating_sub(time));
    Some(Settings {
        name,
        host: request.host,
        kernel: request.kernel.clone(),
        container: None,
        base: request.base.clone(),
        duration: since(observation.began_ns),
        last_new: (subject.last_new_ns != 0).then(|| since(subject.last_new_ns)),
        partial,
    })
}

/// The name, with a number if it is taken.
fn unused_name(name: String, names: &mut BTreeSet<String>) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
    let unused = std::iter::once(name.clone())
        .chain(numbered)
        .find(|candidate| !names.contains(candidate))
        .unwrap_or(name);
    names.insert(unused.clone());
    unused
}

/// A name that Kubernetes takes (RFC 1123 subdomain), from any text.
fn object_name(text: &str) -> String {
    let name: String = text
        .to_ascii_lowercase()
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() || character == '.' {
                character
            } else {
                '-'
            }
        })
        .take(200)
        .collect();
    let labels: Vec<&str> = name
        .split('.')
        .map(|label| label.trim_matches('-'))
        .filter(|label| !label.is_empty())
        .collect();
    if labels.is_empty() {
        "profile".to_owned()
    } else {
        labels.join(".")
    }
}

fn text(kind: RecordKind, recorded: &Recorded) -> Result<String> {
    if kind == RecordKind::RawSeccomp {
        write_raw(&recorded.profile.spec).context("failed to write JSON")
    } else {
        write_object(&recorded.profile).context("failed to write YAML")
    }
}

/// What was recorded is not thrown away because its place went: it is written elsewhere.
fn write_one(mut output: Output, path: &Path, text: &str) -> Result<()> {
    output.write(text).map_err(|error| {
        let failure = format!("failed to write {}: {error}", shown(path.as_os_str()));
        match output::rescue(text) {
            Ok(elsewhere) => anyhow!(
                "{failure}; the profile is in {}",
                shown(elsewhere.as_os_str())
            ),
            Err(_) => anyhow!(failure),
        }
    })
}

fn tell(recorded: &Recorded, path: &Path) {
    line(format_args!("{}", recorded.summary));
    if path.as_os_str() != "-" {
        line(format_args!("wrote {}", shown(path.as_os_str())));
    }
}

/// `profile.yaml` for `nginx` becomes `profile-nginx.yaml`.
fn named(path: &Path, name: &str) -> PathBuf {
    let mut file = OsString::from(path.file_stem().unwrap_or_default());
    file.push("-");
    file.push(name);
    if let Some(extension) = path.extension() {
        file.push(".");
        file.push(extension);
    }
    path.with_file_name(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kubernetes_takes() {
        for (text, name) in [
            ("nginx", "nginx"),
            ("My_App.sh", "my-app.sh"),
            ("../..", "profile"),
            ("a..b", "a.b"),
            ("", "profile"),
            ("\x1b[31m", "31m"),
        ] {
            assert_eq!(object_name(text), name, "{text:?}");
        }
    }

    #[test]
    fn no_name_twice() {
        let mut names = BTreeSet::new();
        let given = ["a", "a", "a-2"].map(|name| unused_name(name.to_owned(), &mut names));
        assert_eq!(given, ["a", "a-2", "a-2-2"]);
    }

    #[test]
    fn several_files_from_one_name() {
        assert_eq!(
            named(Path::new("out/profile.yaml"), "nginx"),
            Path::new("out/profile-nginx.yaml")
        );
        assert_eq!(
            named(Path::new("profile"), "nginx"),
            Path::new("profile-nginx")
        );
    }
}
