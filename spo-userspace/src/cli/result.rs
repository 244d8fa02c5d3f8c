//! Writing the profile that a verb made.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

use super::held::shown;
use super::input;
use super::progress::line;
use crate::api;
use crate::node::machine;
use crate::node::output::Output;
use crate::profile::apparmor::{self, AppArmorSpec, TextProfile};
use crate::profile::diagnostic::{Severity, has_errors};
use crate::profile::object::Identity;
use crate::profile::seccomp::{Document, SeccompSpec};
use crate::profile::tree::Parsed;

/// Writes to a file, or to standard output (`-`), whose reader may have had enough. A single object
/// becomes JSON if the file is called so.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let name = shown(path.as_os_str());
    refuse_invalid(text)?;
    refuse_link(path)?;
    let json = path.extension().and_then(OsStr::to_str) == Some("json");
    let object = if json { object_as_json(text) } else { None };
    let text = object.as_deref().unwrap_or(text);
    let waiting = || line(format_args!("waiting for a reader of {name}"));
    let mut output =
        Output::prepare(path, waiting).with_context(|| format!("cannot write {name}"))?;
    match output.write(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow!(error).context(format!("failed to write {name}")))
        }
        _ => Ok(()),
    }
}

/// An object that the API server would not take helps nobody: what other forms may say, objects
/// may not always.
fn refuse_invalid(text: &str) -> Result<()> {
    if !text.starts_with("apiVersion:") {
        return Ok(());
    }
    let mut valid = true;
    for read in input::read_file("the result", text.as_bytes(), false) {
        for problem in &read.diagnostics {
            if problem.severity == Severity::Error {
                line(format_args!("{problem}"));
                valid = false;
            }
        }
    }
    if !valid {
        bail!("an object cannot say this (see above)");
    }
    Ok(())
}

/// A link is neither replaced by a file, nor followed: in a folder such as `/tmp` it may be
/// somebody else's, and lead anywhere.
fn refuse_link(path: &Path) -> Result<()> {
    let Ok(target) = fs::read_link(path) else {
        return Ok(());
    };
    // A link to a pipe or a device is written to, and nothing is replaced. In /dev and /proc, links
    // are names of what is open.
    let is_open = |folder: PathBuf| folder.starts_with("/dev") || folder.starts_with("/proc");
    let folder = path.parent().map(Path::canonicalize);
    let special = fs::metadata(path).is_ok_and(|data| !data.is_file())
        || folder.is_some_and(|folder| folder.is_ok_and(is_open));
    if !special {
        bail!(
            "{} is a symbolic link: name the file that it leads to ({})",
            shown(path.as_os_str()),
            shown(target.as_os_str())
        );
    }
    Ok(())
}

/// The JSON of an object in YAML; nothing if the text is something else, or several objects.
fn object_as_json(text: &str) -> Option<String> {
    if text.starts_with(['{', '(']) {
        return None;
    }
    let root = Parsed::of("the result", text.as_bytes()).root?;
    Identity::of(&root).kind?;
    Some(format!("{:#}\n", api::as_json(&root)))
}

/// What a seccomp profile says here: a container engine's depends on the machine, which is told.
pub(super) fn seccomp_spec(document: Document) -> Result<SeccompSpec> {
    if let Document::Engine(_) = document {
        line(format_args!(
            "a container engine's profile depends on the machine: this is what it is here, for a \
             container without capabilities"
        ));
    }
    let machine = machine::without_capabilities().context("failed to tell what machine this is")?;
    Ok(document.into_spec(&machine))
}

/// What an AppArmor text says in terms of an object; what it cannot say is told.
pub(super) fn apparmor_spec(text: &TextProfile) -> Result<AppArmorSpec> {
    let (spec, diagnostics) = apparmor::to_abstract(text);
    for diagnostic in &diagnostics {
        line(format_args!("{diagnostic}"));
    }
    if has_errors(&diagnostics) {
        bail!("the text has rules that an AppArmorProfile cannot say (see above)");
    }
    Ok(spec)
}
