//! What a file turns out to hold.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};

use super::files;
use super::held::shown;
use super::progress::line;
use crate::api;
use crate::profile::diagnostic::{Diagnostic, has_errors, render};
use crate::profile::documents;
use crate::profile::format::{self, Format};
use crate::profile::lint::silence;
use crate::profile::object::Identity;
use crate::profile::tree::Parsed;
use crate::profile::{apparmor, seccomp, selinux};

/// A profile, in one of its forms.
#[derive(Debug)]
pub(super) enum Profile {
    /// A seccomp profile in any of its forms.
    Seccomp(seccomp::Document),
    /// An `AppArmorProfile`.
    AppArmor(Box<apparmor::AppArmorProfile>),
    /// AppArmor's policy text.
    AppArmorText(apparmor::TextProfile),
    /// A `SelinuxProfile`.
    Selinux(selinux::SelinuxProfile),
    /// A `RawSelinuxProfile`.
    RawSelinux(selinux::RawSelinuxProfile),
    /// What can be checked, and nothing else: CIL, and the kinds that are no profiles.
    Other(&'static str),
}

/// A document, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Read {
    /// Missing if there are errors.
    pub(super) profile: Option<Profile>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Read {
    fn too_many(name: &str, documents: usize) -> Self {
        let message = format!("the file has {documents} documents");
        let help = format!("the limit is {}", documents::MOST);
        Self {
            profile: None,
            diagnostics: vec![Diagnostic::of_file(name, message, Some(&help))],
        }
    }

    fn of<T>(
        (value, diagnostics): (Option<T>, Vec<Diagnostic>),
        profile: impl FnOnce(T) -> Profile,
    ) -> Self {
        Self {
            profile: value.map(profile),
            diagnostics,
        }
    }
}

/// Whether a file that was found in a folder is meant for us.
pub(super) fn is_ours(name: &str, source: &[u8]) -> bool {
    Format::of(name, source) != Format::Tree || format::is_ours(source)
}

/// Reads the documents of a file, but for objects of somebody else's. With `lint`, what is allowed
/// and unwise is among the diagnostics.
pub(super) fn read_file(name: &str, source: &[u8], lint: bool) -> Vec<Read> {
    match Format::of(name, source) {
        Format::Cil => {
            let read = if lint {
                selinux::read_cil_and_lint
            } else {
                selinux::read_cil
            };
            let (tree, diagnostics) = read(name, source);
            vec![Read {
                profile: tree.map(|_| Profile::Other("SELinux policy text")),
                diagnostics: silence(source, diagnostics),
            }]
        }
        Format::AppArmor => {
            let (profiles, diagnostics) = apparmor::read_texts(name, source, lint);
            let mut profiles = profiles.into_iter().map(Profile::AppArmorText);
            // All problems stand with the first profile, or with none.
            let first = Read {
                profile: profiles.next(),
                diagnostics: silence(source, diagnostics),
            };
            let others = profiles.map(|profile| Read {
                profile: Some(profile),
                diagnostics: Vec::new(),
            });
            std::iter::once(first).chain(others).collect()
        }
        Format::Tree => {
            let parts = documents::split(source);
            if parts.len() > documents::MOST {
                return vec![Read::too_many(name, parts.len())];
            }
            let read = |part: documents::Part<'_>| {
                let mut read = read_document(name, part.text, lint)?;
                read.diagnostics = silence(source, read.diagnostics);
                part.place(&mut read.diagnostics);
                Some(read)
            };
            parts.into_iter().filter_map(read).collect()
        }
    }
}

fn read_document(name: &str, source: &[u8], lint: bool) -> Option<Read> {
    let mut parsed = Parsed::of(name, source);
    let identity = parsed.root.as_ref().map(Identity::of).unwrap_or_default();
    if identity.is_foreign() {
        return None;
    }
    api::upgrade(&mut parsed);
    Some(match identity.kind.as_deref() {
        None | Some("SeccompProfile") => {
            Read::of(seccomp::read_parsed(parsed, lint), Profile::Seccomp)
        }
        Some("AppArmorProfile") => {
            let read = apparmor::read_parsed(parsed, lint);
            Read::of(read, |object| Profile::AppArmor(Box::new(object)))
        }
        Some("SelinuxProfile") => Read::of(selinux::read_parsed(parsed, lint), Profile::Selinux),
        Some("RawSelinuxProfile") => {
            Read::of(selinux::read_raw_parsed(parsed, lint), Profile::RawSelinux)
        }
        Some(_) => Read::of(api::read(name, source), |_| {
            Profile::Other("object that is no profile")
        }),
    })
}

/// Reads the one profile of a file, and tells what is wrong with it.
pub(super) fn one(path: &Path) -> Result<Profile> {
    let name = shown(path.as_os_str());
    let source = files::read(path)?;
    let documents = read_file(&name, &source, false);
    for read in &documents {
        if !read.diagnostics.is_empty() {
            let color = std::io::stderr().is_terminal();
            let problems = render(&read.diagnostics, &source, color);
            line(format_args!("{name} has problems:\n{problems}"));
        }
        if has_errors(&read.diagnostics) {
            bail!("{name} is not valid");
        }
    }
    let mut profiles = documents.into_iter().filter_map(|read| read.profile);
    let first = profiles.next();
    if profiles.next().is_some() {
        bail!("{name} has several profiles: give one per file");
    }
    first.with_context(|| format!("there is no profile in {name}"))
}

/// What a verb says to a profile that it can do nothing with.
pub(super) fn unfit(what: &str, why: &str) -> anyhow::Error {
    anyhow!("a {what} cannot be {why}")
}
