//! `spo merge`: what any of several profiles allows.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::args::MergeArgs;
use super::exit::{FAILED, Failure};
use super::files;
use super::held::shown;
use super::input::{self, Profile, different, unfit};
use super::progress::line;
use super::result;
use crate::profile::object::{Metadata, Object};
use crate::profile::{apparmor, seccomp, selinux};
use crate::recorder::ANNOTATION_PREFIX;

/// Writes the union, or with `--check` tells whether the first profile already is it.
pub(super) fn run(args: &MergeArgs) -> Result<ExitCode, Failure> {
    let paths: Vec<_> = args.files.iter().map(PathBuf::as_path).collect();
    files::refuse_twice_standard(&paths)?;
    merge(args).map_err(|error| Failure::new(FAILED, error))
}

fn merge(args: &MergeArgs) -> Result<ExitCode> {
    let MergeArgs {
        files,
        output_file,
        check,
    } = args;
    let profiles: Vec<Profile> = files
        .iter()
        .map(|file| match check {
            true => input::one_to_compare(file),
            false => input::one(file),
        })
        .collect::<Result<_>>()?;
    let union = match profiles.first().context("no profile")? {
        Profile::Seccomp(_) => seccomp_union(&profiles)?,
        Profile::AppArmor(_) | Profile::AppArmorText(_) => apparmor_union(&profiles)?,
        Profile::Selinux(_) => selinux_union(&profiles)?,
        Profile::RawSelinux(_) | Profile::SelinuxText(_) => return Err(unmergeable()),
        Profile::Other(what) => return Err(unfit(what, "merged")),
    };
    if *check {
        let first = shown(files[0].as_os_str());
        if let Some(difference) = union.difference {
            line(format_args!(
                "{first} does not allow all of it:\n{difference}"
            ));
            return Ok(ExitCode::from(FAILED));
        }
        line(format_args!("{first} is up to date"));
        return Ok(ExitCode::SUCCESS);
    }
    for note in &union.notes {
        line(format_args!("{note}"));
    }
    let namespaces: Vec<_> = objects(&profiles)
        .map(|metadata| &metadata.namespaces)
        .collect();
    if namespaces.windows(2).any(|pair| pair[0] != pair[1]) {
        line(format_args!(
            "the profiles are for different namespaces: the result has the namespaceSelector of the first"
        ));
    }
    result::write(output_file, &union.text)?;
    Ok(ExitCode::SUCCESS)
}

/// What all allow together, in the form of the first.
struct Union {
    text: String,
    notes: Vec<String>,
    /// What the union allows and the first does not, if they differ.
    difference: Option<String>,
}

fn seccomp_union(profiles: &[Profile]) -> Result<Union> {
    let mut specs = Vec::new();
    for profile in profiles {
        let Profile::Seccomp(document) = profile else {
            return Err(different(&profiles[0], profile));
        };
        specs.push(document.spec().context(
            "a container engine's profile depends on the machine: `spo convert` it first",
        )?);
    }
    let seccomp::Merged { spec, notes } = seccomp::merge(&specs)?;
    let difference = seccomp::diff(specs[0], &spec);
    let text = match &profiles[0] {
        Profile::Seccomp(seccomp::Document::Object(first)) => {
            let metadata = metadata(&first.metadata, profiles);
            seccomp::write_object(&Object { metadata, spec })?
        }
        _ => seccomp::write_raw(&spec)?,
    };
    Ok(Union {
        text,
        notes: notes.iter().map(ToString::to_string).collect(),
        difference: (!difference.is_same()).then(|| difference.to_string()),
    })
}

fn apparmor_union(profiles: &[Profile]) -> Result<Union> {
    let mut specs = Vec::new();
    for profile in profiles {
        specs.push(match profile {
            Profile::AppArmor(object) => object.spec.clone(),
            Profile::AppArmorText(text) => result::apparmor_spec(text)?,
            other => return Err(different(&profiles[0], other)),
        });
    }
    let all: Vec<_> = specs.iter().collect();
    let apparmor::Merged { spec, notes } = apparmor::merge(&all);
    let difference = apparmor::diff(&specs[0], &spec);
    let text = match &profiles[0] {
        Profile::AppArmorText(first) => apparmor::write_text(first.name(), &spec)?,
        Profile::AppArmor(first) => apparmor::write_object(&Object {
            metadata: metadata(&first.metadata, profiles),
            spec,
        })?,
        other => return Err(unfit(other.family(), "merged")),
    };
    Ok(Union {
        text,
        notes: notes.iter().map(ToString::to_string).collect(),
        difference: (!difference.is_same()).then(|| difference.to_string()),
    })
}

fn selinux_union(profiles: &[Profile]) -> Result<Union> {
    let mut objects = Vec::new();
    for profile in profiles {
        match profile {
            Profile::Selinux(object) => objects.push(object),
            Profile::RawSelinux(_) | Profile::SelinuxText(_) => return Err(unmergeable()),
            other => return Err(different(&profiles[0], other)),
        }
    }
    let specs: Vec<_> = objects.iter().map(|object| &object.spec).collect();
    let spec = selinux::merge_as(&objects[0].metadata.name, &specs);
    let difference = selinux::diff(specs[0], &spec);
    let text = selinux::write_object(&Object {
        metadata: metadata(&objects[0].metadata, profiles),
        spec,
    })?;
    Ok(Union {
        text,
        notes: Vec::new(),
        difference: (!difference.is_same()).then(|| difference.to_string()),
    })
}

/// The union of two policies in CIL is more than their statements one after the other.
fn unmergeable() -> anyhow::Error {
    unfit("policy in CIL", "merged: only SelinuxProfiles can")
}

/// What recordings lost together.
#[derive(Clone, Copy)]
enum Lost {
    Known(u64),
    /// One of them has an annotation that says no number.
    Unknown,
}

/// How [`Lost::Unknown`] is written: no number, so that it stays unknown.
const UNKNOWN: &str = "unknown";

impl Lost {
    fn and(self, text: &str) -> Self {
        match (self, text.parse()) {
            (Self::Known(sum), Ok(number)) => Self::Known(sum.saturating_add(number)),
            _ => Self::Unknown,
        }
    }
}

/// The first one's metadata, but what it says about its recording holds for all of them: what was
/// lost, and why it is partial.
fn metadata(first: &Metadata, all: &[Profile]) -> Metadata {
    let mut metadata = first.clone();
    metadata
        .annotations
        .retain(|name, _| !name.starts_with(ANNOTATION_PREFIX));
    let key = |name: &str| format!("{ANNOTATION_PREFIX}{name}");
    let mut lost: Option<Lost> = None;
    let mut partial = BTreeSet::new();
    for other in objects(all) {
        let annotation = |name: &str| other.annotations.get(&key(name));
        if let Some(text) = annotation("lost") {
            lost = Some(lost.unwrap_or(Lost::Known(0)).and(text));
        }
        partial.extend(annotation("partial").map(String::as_str));
    }
    let lost = lost.map(|lost| match lost {
        Lost::Known(number) => number.to_string(),
        Lost::Unknown => UNKNOWN.to_owned(),
    });
    if let Some(lost) = lost {
        metadata.annotations.insert(key("lost"), lost);
    }
    if !partial.is_empty() {
        let reasons: Vec<_> = partial.into_iter().collect();
        metadata
            .annotations
            .insert(key("partial"), reasons.join("; "));
    }
    metadata
}

/// The metadata of those that are objects.
fn objects(all: &[Profile]) -> impl Iterator<Item = &Metadata> {
    all.iter().filter_map(|profile| match profile {
        Profile::Seccomp(seccomp::Document::Object(object)) => Some(&object.metadata),
        Profile::AppArmor(object) => Some(&object.metadata),
        Profile::Selinux(object) => Some(&object.metadata),
        _ => None,
    })
}
