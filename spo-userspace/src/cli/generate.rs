//! `spo completions` and `spo man`, from the definitions in `args.rs`.

use std::process::ExitCode;

use anyhow::Context as _;

use super::args::{CompletionsArgs, ManArgs, command};
use super::exit::{FAILED, Failure};
use super::held::shown;
use super::progress::output;

/// Prints a completion script.
pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "spo", &mut script);
    output(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for `spo` and one for each verb.
pub(super) fn man(args: &ManArgs) -> Result<ExitCode, Failure> {
    clap_mangen::generate_to(command(), &args.folder)
        .with_context(|| {
            format!(
                "failed to write the man pages into {}",
                shown(args.folder.as_os_str())
            )
        })
        .map_err(|error| Failure::new(FAILED, error))?;
    Ok(ExitCode::SUCCESS)
}
