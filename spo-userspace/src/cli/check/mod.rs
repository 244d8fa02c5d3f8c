//! `spo check`: everything that is wrong with profiles.

mod report;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use super::args::{CheckArgs, ReportForm};
use super::exit::{FAILED, Failure};
use super::files::{self, Listed};
use super::held::shown;
use super::input;
use super::progress::{line, output};
use crate::profile::diagnostic::{Diagnostic, Severity, render};
use crate::recorder::count;

/// Problems of one file that are shown. Each document is bounded already.
const MOST: usize = 1000;

/// Checks all files; exit code 1 if there are errors, or with `--strict` any finding.
pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let CheckArgs {
        files,
        output: form,
        strict,
        allow,
    } = args;
    let listed = files::list(files).map_err(|error| Failure::new(FAILED, error))?;
    let mut checked = 0_usize;
    let mut all = Vec::new();
    for file in &listed {
        let (mut found, source) = check(file, *strict);
        checked += usize::from(found.is_some());
        let found = found.get_or_insert_default();
        found.retain(|diagnostic| {
            diagnostic
                .rule
                .is_none_or(|rule| !allow.iter().any(|allowed| allowed == rule))
        });
        if *form == ReportForm::Human {
            output(&render(found, &source, std::io::stdout().is_terminal()))?;
        }
        all.append(found);
    }
    match form {
        ReportForm::Human => {}
        ReportForm::Json => output(&report::json(checked, &all))?,
        ReportForm::Sarif => output(&report::sarif(&all))?,
        ReportForm::Github => output(&report::github(&all))?,
    }
    let of = |severity| {
        let found = all.iter().filter(|found| found.severity == severity);
        found.count()
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    line(format_args!(
        "{}: {}, {}{}",
        count(checked, "file"),
        count(errors, "error"),
        count(warnings, "warning"),
        match listed.len() - checked {
            0 => String::new(),
            others => format!("; {} without a profile", count(others, "file")),
        }
    ));
    Ok(if errors > 0 || (*strict && warnings > 0) {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// The problems of a file, and its text; no problems at all if it was only found in a folder, and
/// holds no profile.
fn check(file: &Listed, strict: bool) -> (Option<Vec<Diagnostic>>, Vec<u8>) {
    let name = shown(file.path.as_os_str());
    let source = match files::read(&file.path) {
        Ok(source) => source,
        Err(error) => {
            let problem = Diagnostic::of_file(&name, format!("{error:#}"), None);
            return (Some(vec![problem]), Vec::new());
        }
    };
    if !file.named && !input::is_ours(&name, &source) {
        return (None, source);
    }
    let documents = input::read_file(&name, &source, strict);
    if documents.is_empty() {
        let help = "checked are our kinds of objects, seccomp JSON, AppArmor text and CIL";
        let message = "there is no profile in this file".to_owned();
        let problem = Diagnostic::of_file(&name, message, Some(help));
        return (file.named.then_some(vec![problem]), source);
    }
    let mut found: Vec<_> = documents
        .into_iter()
        .flat_map(|read| read.diagnostics)
        .collect();
    if let Some(more) = found.len().checked_sub(MOST).filter(|more| *more > 0) {
        found.truncate(MOST);
        let message = format!("{more} more problems are not shown");
        found.push(Diagnostic::of_file(&name, message, None));
    }
    (Some(found), source)
}
