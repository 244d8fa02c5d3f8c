//! Writing the profile that a verb made.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};

use super::held::shown;
use super::progress::line;
use crate::node::output::Output;
use crate::profile::apparmor::{self, AppArmorSpec, TextProfile};
use crate::profile::diagnostic::has_errors;

/// Writes to a file, or to standard output (`-`), whose reader may have had enough.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let name = shown(path.as_os_str());
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
