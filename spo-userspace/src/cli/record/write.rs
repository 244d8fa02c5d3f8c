//! From what a recording left to files, and a summary.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::super::args::RecordKind;
use super::super::exit::Failure;
use super::super::held::shown;
use super::super::progress::line;
use super::add_blocked;
use super::session::{Ending, Finished};
use crate::event::{Call, Observation, Phase, SubjectObservation};
use crate::node::output::Output;
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
            add_blocked(&mut subject.calls, request.blocked);
        }
    }
    let mut recorded = Vec::new();
    let mut names = BTreeMap::new();
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
        (several, Output::Standard) => {
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
                let path = named(path, &recorded.profile.name);
                let output = Output::prepare(&path)
                    .with_context(|| format!("cannot write {}", shown(path.as_os_str())))?;
                write_one(output, &path, text)?;
                tell(recorded, &path);
            }
        }
    }
    Ok(())
}

/// What the profile of a subject is made with; none for what gets no profile.
fn settings(
    request: &Request<'_>,
    subject: &SubjectObservation,
    observation: &Observation,
    names: &mut BTreeMap<String, u32>,
) -> Option<Settings> {
    let mut partial = request.partial.clone();
    let mut base_name = request.name.clone();
    let of_a_namespace = subject.namespace_id != 0;
    match subject.phase {
        Phase::HandedOver => return None,
        Phase::Setup if !of_a_namespace => return None,
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
        Phase::Workload => {}
    }
    if of_a_namespace {
        base_name = subject.comm.to_string();
        if process::in_mount_namespace(subject.namespace_inum)
            .is_ok_and(|remaining| !remaining.is_empty())
        {
            partial.push("the container went on after the recording ended".to_owned());
        }
    } else if subject.calls.is_empty() && subject.unnamed.is_empty() {
        return None;
    }
    let name = object_name(&base_name);
    let count = names.entry(name.clone()).or_insert(0);
    *count += 1;
    let name = if *count == 1 {
        name
    } else {
        format!("{name}-{count}")
    };
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
    let name = name
        .trim_matches(['-', '.'])
        .replace("..", ".")
        .replace(".-", "-")
        .replace("-.", "-");
    if name.is_empty() {
        "profile".to_owned()
    } else {
        name
    }
}

fn text(kind: RecordKind, recorded: &Recorded) -> Result<String> {
    if kind == RecordKind::RawSeccomp {
        write_raw(&recorded.profile.spec).context("failed to write JSON")
    } else {
        write_object(&recorded.profile).context("failed to write YAML")
    }
}

fn write_one(output: Output, path: &Path, text: &str) -> Result<()> {
    output
        .write(text)
        .with_context(|| format!("failed to write {}", shown(path.as_os_str())))
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
