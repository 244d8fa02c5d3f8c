//! What a file turns out to hold.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};

use super::files;
use super::held::shown;
use super::progress::{colors, line};
use crate::api::{self, Identifier};
use crate::profile::diagnostic::{Diagnostic, Severity, escape, has_errors, quoted, render};
use crate::profile::documents;
use crate::profile::format::{self, Format};
use crate::profile::lint::silenced as silenced_in;
use crate::profile::object::Identity;
use crate::profile::tree::{Node, Parsed, Value};
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
    /// CIL, and what it says if a `SelinuxProfile` can say it.
    SelinuxText(Box<Result<selinux::SelinuxSpec, selinux::NoProfile>>),
    /// What can be checked, and nothing else: the kinds that are no profiles.
    Other(&'static str),
}

/// A document, or an object in a list, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Read {
    /// Missing if there are errors.
    pub(super) profile: Option<Profile>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Which object it is, and what to tell if there is another one.
    pub(super) object: Option<(Identifier, Diagnostic)>,
    /// Why it is nothing to complain about in a file that was only found.
    pub(super) beside: Option<Beside>,
}

/// What stands in folders beside profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beside {
    /// Nothing says that it is an object or a profile: values of a chart, a kustomization.
    Other,
    /// It is not valid, and has marks that a program such as Helm replaces.
    Template,
}

impl Read {
    fn failed(diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            profile: None,
            diagnostics,
            object: None,
            beside: None,
        }
    }

    fn too_many(name: &str, number: usize, what: &str) -> Self {
        let message = format!("the file has {number} {what}");
        let help = format!("the limit is {}", documents::MOST);
        Self::failed(vec![Diagnostic::of_file(name, message, Some(&help))])
    }

    fn of<T>(
        (value, diagnostics): (Option<T>, Vec<Diagnostic>),
        profile: impl FnOnce(T) -> Profile,
    ) -> Self {
        Self {
            profile: value.map(profile),
            ..Self::failed(diagnostics)
        }
    }
}

/// Whether a file that was found in a folder is meant for us.
pub(super) fn is_ours(name: &str, source: &[u8]) -> bool {
    Format::of(name, source) != Format::Tree || format::is_ours(source)
}

/// Reads the documents of a file, but for objects of somebody else's; each of them when it is asked
/// for. With `lint`, what is allowed and unwise is among the diagnostics.
pub(super) fn read_file<'a>(
    name: &'a str,
    source: &'a [u8],
    lint: bool,
) -> impl Iterator<Item = Read> + use<'a> {
    let parts = match Format::of(name, source) {
        Format::Tree => documents::split(source),
        _ => Vec::new(),
    };
    let whole = match Format::of(name, source) {
        Format::Cil => {
            let read = if lint {
                selinux::read_cil_and_lint
            } else {
                selinux::read_cil
            };
            let text = |tree| Profile::SelinuxText(Box::new(selinux::of_cil(&tree)));
            vec![Read::of(read(name, source), text)]
        }
        Format::AppArmor => {
            let (profiles, diagnostics) = apparmor::read_texts(name, source, lint);
            let mut profiles = profiles.into_iter();
            // All problems stand with the first profile, or with none.
            let first = Read::of((profiles.next(), diagnostics), Profile::AppArmorText);
            let others = profiles
                .map(|profile| Read::of((Some(profile), Vec::new()), Profile::AppArmorText));
            std::iter::once(first).chain(others).collect()
        }
        Format::Tree if parts.len() > documents::MOST => {
            vec![Read::too_many(name, parts.len(), "documents")]
        }
        Format::Tree => Vec::new(),
    };
    let parts = if whole.is_empty() { parts } else { Vec::new() };
    let documents = parts
        .into_iter()
        .flat_map(move |part| read_document(name, part, lint));
    // A comment may stand anywhere in the file; to look for them takes as long as to read it.
    let mut silenced = None;
    whole.into_iter().chain(documents).map(move |mut read| {
        if read.diagnostics.iter().any(|found| found.rule.is_some()) || read.object.is_some() {
            let silenced = silenced.get_or_insert_with(|| silenced_in(source));
            let silent =
                |found: &Diagnostic| found.rule.is_some_and(|rule| silenced.contains(rule));
            read.diagnostics.retain(|found| !silent(found));
            read.object.take_if(|(_, twice)| silent(twice));
        }
        read
    })
}

fn read_document(name: &str, part: documents::Part<'_>, lint: bool) -> Vec<Read> {
    let Parsed {
        file,
        source,
        mut root,
        found,
    } = Parsed::of(name, part.text);
    let is_list = root.as_ref().is_some_and(documents::is_list);
    let is_object = root.is_some() && !is_list;
    let mut objects = root.as_mut().map(documents::objects).unwrap_or_default();
    let mut reads = Vec::new();
    if objects.len() > documents::MOST {
        reads.push(Read::too_many(name, objects.len(), "objects in a list"));
        objects.clear();
    }
    let mut found = Some(found);
    // What is wrong with a list, or keeps the text from being a tree, is no single object's.
    if !is_object {
        let found = found.take().unwrap_or_default();
        if !found.is_empty() {
            reads.push(Read::failed(found));
        }
    }
    for object in objects {
        let root = std::mem::replace(object, Node::nothing());
        // Readers look for comments in the source, and for the places of a raw policy. The comments
        // are looked for above, once.
        let is_raw = Identity::of(&root).kind.as_deref() == Some("RawSelinuxProfile");
        let parsed = Parsed {
            file,
            source: if is_object || is_raw { source } else { &[] },
            root: Some(root),
            found: found.take().unwrap_or_default(),
        };
        reads.extend(read_object(parsed, lint));
    }
    let is_template = || has_template_marks(part.text);
    for read in &mut reads {
        if has_errors(&read.diagnostics) && read.beside.is_none() && is_template() {
            read.beside = Some(Beside::Template);
        }
        part.place(&mut read.diagnostics);
        if let Some((_, twice)) = &mut read.object {
            part.place(std::slice::from_mut(twice));
        }
    }
    reads
}

fn read_object(mut parsed: Parsed<'_>, lint: bool) -> Option<Read> {
    let root = parsed.root.as_mut()?;
    let identity = Identity::of(root);
    if identity.is_foreign() {
        return None;
    }
    let file = parsed.file;
    let beside = (!is_marked(root)).then_some(Beside::Other);
    let object = Identifier::of(root).map(|(object, place)| {
        let message = format!("there is another {} {}", object.kind, quoted(&object.name));
        let twice = Diagnostic {
            severity: Severity::Error,
            rule: Some(api::SAME_OBJECT),
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            span: place.span(),
            message,
            help: None,
        };
        (object, twice)
    });
    let kind = identity.kind.as_deref();
    let is_profile = |kind| api::PROFILES.contains(&kind);
    if kind.is_none_or(is_profile) {
        let notes = api::upgrade(file, root);
        parsed.found.extend(notes);
    }
    let read = match kind {
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
        Some(_) => Read::of(api::read_parsed(parsed), |_| {
            Profile::Other("object that is no profile")
        }),
    };
    Some(Read {
        object,
        beside,
        ..read
    })
}

/// Whether something says that a document is an object or a seccomp profile.
fn is_marked(root: &Node) -> bool {
    let Value::Map(entries) = &root.value else {
        return false;
    };
    entries.iter().any(|(key, _)| {
        let marks = ["apiVersion", "kind", "defaultAction", "syscalls"];
        matches!(&key.value, Value::Text(name) if marks.contains(&name.as_str()))
    })
}

/// What Helm and its like replace. AppArmor's alternatives nest without such a character.
fn has_template_marks(text: &[u8]) -> bool {
    text.windows(3)
        .any(|window| window.starts_with(b"{{") && b" -.$\"".contains(&window[2]))
}

/// Reads the one profile of a file that is going to be written anew, and tells what is wrong with
/// it, and what will be missing.
pub(super) fn one(path: &Path) -> Result<Profile> {
    let (mut profile, source) = read_one(path)?;
    let silenced = silenced_in(&source);
    if !silenced.is_empty() {
        let names: Vec<_> = silenced.iter().map(|name| escape(name)).collect();
        line(format_args!(
            "comments of {} are not kept, and among them is `spo: allow({})`",
            shown(path.as_os_str()),
            names.join(", ")
        ));
    }
    let metadata = match &mut profile {
        Profile::Seccomp(seccomp::Document::Object(object)) => Some(&mut object.metadata),
        Profile::AppArmor(object) => Some(&mut object.metadata),
        Profile::Selinux(object) => Some(&mut object.metadata),
        Profile::RawSelinux(object) => Some(&mut object.metadata),
        Profile::Seccomp(_)
        | Profile::AppArmorText(_)
        | Profile::SelinuxText(_)
        | Profile::Other(_) => None,
    };
    if let Some(metadata) = metadata {
        metadata.annotations.remove(api::LAST_APPLIED);
    }
    Ok(profile)
}

/// The same of a profile that stays as it is.
pub(super) fn one_to_compare(path: &Path) -> Result<Profile> {
    read_one(path).map(|(profile, _)| profile)
}

fn read_one(path: &Path) -> Result<(Profile, Vec<u8>)> {
    let name = shown(path.as_os_str());
    let source = files::read(path)?;
    let mut first = None;
    for read in read_file(&name, &source, false) {
        if !read.diagnostics.is_empty() {
            let problems = render(&read.diagnostics, &source, colors(&std::io::stderr()));
            line(format_args!("{name} has problems:\n{problems}"));
        }
        if has_errors(&read.diagnostics) {
            bail!("{name} is not valid");
        }
        if read.profile.is_some() && first.is_some() {
            bail!("{name} has several profiles: give one per file");
        }
        first = first.or(read.profile);
    }
    let first = first.with_context(|| format!("there is no profile in {name}"))?;
    Ok((first, source))
}

impl Profile {
    /// What it is a profile for, or that it is none.
    pub(super) fn family(&self) -> &'static str {
        match self {
            Self::Seccomp(_) => "seccomp",
            Self::AppArmor(_) | Self::AppArmorText(_) => "AppArmor",
            Self::Selinux(_) | Self::RawSelinux(_) | Self::SelinuxText(_) => "SELinux",
            Self::Other(what) => what,
        }
    }
}

/// What a verb says to two profiles that have nothing in common.
pub(super) fn different(left: &Profile, right: &Profile) -> anyhow::Error {
    anyhow!(
        "the profiles are of different kinds: {} and {}",
        left.family(),
        right.family()
    )
}

/// What a verb says to a profile that it can do nothing with.
pub(super) fn unfit(what: &str, why: &str) -> anyhow::Error {
    anyhow!("a {what} cannot be {why}")
}
