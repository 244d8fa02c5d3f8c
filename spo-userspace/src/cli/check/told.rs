//! Problems on their way to whom they are told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::super::args::ReportForm;
use super::super::exit::Failure;
use super::super::progress::{colors, line, output};
use super::{report, uri};
use crate::profile::diagnostic::{Diagnostic, Severity, render};
use crate::recorder::count;

/// So many errors of one file are told, and as many warnings. After the errors, the rest of the file
/// is not looked at.
const MOST: usize = 1000;
/// So many problems of all files are in a report for programs: GitHub takes no more in SARIF.
const MOST_IN_REPORT: usize = 25_000;

/// The problems of one file, as many as are told.
#[derive(Default)]
pub(super) struct Found {
    told: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Found {
    /// Whether there are so many errors that no more are told.
    pub(super) fn is_full(&self) -> bool {
        self.errors >= MOST
    }

    pub(super) fn add(&mut self, diagnostic: Diagnostic) {
        let number = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *number += 1;
        if *number <= MOST {
            self.told.push(diagnostic);
        }
    }

    pub(super) fn finish(self, name: &str) -> Vec<Diagnostic> {
        let Self {
            mut told,
            errors,
            warnings,
        } = self;
        if errors >= MOST {
            let message = format!("the file has {MOST} errors or more: the rest is not looked at");
            told.push(Diagnostic::of_file(name, message, None));
        }
        if warnings > MOST {
            let message = format!("{} more warnings are not shown", warnings - MOST);
            told.push(Diagnostic {
                severity: Severity::Warning,
                ..Diagnostic::of_file(name, message, None)
            });
        }
        told
    }
}

/// What was looked at, and found.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) checked: usize,
    pub(super) others: usize,
    pub(super) templates: usize,
    pub(super) errors: usize,
    pub(super) warnings: usize,
}

impl Sum {
    pub(super) fn add(&mut self, found: &[Diagnostic]) {
        for diagnostic in found {
            match diagnostic.severity {
                Severity::Error => self.errors += 1,
                Severity::Warning => self.warnings += 1,
            }
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            checked,
            others,
            templates,
            errors,
            warnings,
        } = *self;
        write!(
            formatter,
            "{}: {}, {}",
            count(checked, "file"),
            count(errors, "error"),
            count(warnings, "warning")
        )?;
        for (number, what) in [(others, "without a profile"), (templates, "with templates")] {
            if number > 0 {
                write!(formatter, "; {} {what}, passed over", count(number, "file"))?;
            }
        }
        Ok(())
    }
}

/// Problems on their way to whom they are told.
pub(super) struct Told {
    form: ReportForm,
    /// For programs, which get one report.
    all: Vec<Diagnostic>,
    /// The path of each file by the name in its problems.
    paths: BTreeMap<String, PathBuf>,
    untold: usize,
    /// Whether a person has seen problems of another file.
    shown: bool,
}

impl Told {
    pub(super) fn new(form: ReportForm) -> Self {
        Self {
            form,
            all: Vec::new(),
            paths: BTreeMap::new(),
            untold: 0,
            shown: false,
        }
    }

    pub(super) fn tell(
        &mut self,
        found: Vec<Diagnostic>,
        source: &[u8],
        path: &Path,
    ) -> Result<(), Failure> {
        if self.form == ReportForm::Human {
            let text = render(&found, source, colors(&std::io::stdout()));
            let between = self.shown && !text.is_empty();
            self.shown |= !text.is_empty();
            return output(&format!("{}{text}", if between { "\n" } else { "" }));
        }
        let room = MOST_IN_REPORT - self.all.len();
        self.untold += found.len().saturating_sub(room);
        if let (Some(first), 1..) = (found.first(), room) {
            self.paths.insert(first.file.clone(), path.to_owned());
        }
        self.all.extend(found.into_iter().take(room));
        Ok(())
    }

    pub(super) fn finish(self, checked: usize) -> Result<(), Failure> {
        let Self {
            form,
            all,
            paths,
            untold,
            shown: _,
        } = self;
        match form {
            ReportForm::Human => {}
            ReportForm::Json => output(&report::json(checked, &all))?,
            ReportForm::Sarif => {
                let folder = std::env::current_dir().unwrap_or_default();
                let uri = |name: &str| match paths.get(name) {
                    Some(path) => uri::of(path, &folder),
                    None => uri::of(Path::new(name), &folder),
                };
                output(&report::sarif(&all, uri))?;
            }
            ReportForm::Github => output(&report::github(&all))?,
        }
        if untold > 0 {
            let untold = count(untold, "more problem");
            line(format_args!("{untold} did not fit into the report"));
        }
        Ok(())
    }
}
