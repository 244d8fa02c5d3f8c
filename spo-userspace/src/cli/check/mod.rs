//! `spo check`: everything that is wrong with profiles.

mod report;
mod told;
mod uri;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;

use self::told::{Found, Sum, Told};
use super::args::CheckArgs;
use super::exit::{FAILED, Failure};
use super::files::{self, Listed};
use super::held::shown;
use super::input::{self, Beside};
use super::progress::line;
use crate::api::Identifier;
use crate::profile::diagnostic::{Diagnostic, Severity};

/// Checks all files; exit code 1 if there are errors, or with `--strict` any finding.
pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let CheckArgs {
        files,
        output: form,
        strict,
        allow,
    } = args;
    let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    files::refuse_twice_standard(&paths)?;
    let files::Listing { files, problems } = files::list(files);
    let mut check = Check {
        strict: *strict,
        allow,
        objects: BTreeMap::new(),
    };
    let mut sum = Sum::default();
    let mut told = Told::new(*form);
    let names = problems.iter().map(|problem| PathBuf::from(&problem.file));
    for (path, problem) in names.zip(&problems) {
        sum.add(std::slice::from_ref(problem));
        told.tell(vec![problem.clone()], &[], &path)?;
    }
    for file in &files {
        let (outcome, source) = check.file(file);
        match outcome {
            Outcome::Checked(found) => {
                sum.checked += 1;
                sum.add(&found);
                told.tell(found, &source, &file.path)?;
            }
            Outcome::Beside(Beside::Other) => sum.others += 1,
            Outcome::Beside(Beside::Template) => sum.templates += 1,
        }
    }
    told.finish(sum.checked)?;
    line(format_args!("{sum}"));
    if sum.checked == 0 && sum.errors == 0 {
        let why = anyhow!("no profile was found: name the files, or folders that have some");
        return Err(Failure::new(FAILED, why));
    }
    Ok(if sum.errors > 0 || (*strict && sum.warnings > 0) {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// What came of a file.
enum Outcome {
    Checked(Vec<Diagnostic>),
    /// It was only found in a folder, and is nothing of ours.
    Beside(Beside),
}

/// A check of several files.
struct Check<'a> {
    strict: bool,
    allow: &'a [String],
    /// The objects so far, and where each of them was last: the file, and the place in it.
    objects: BTreeMap<Identifier, (String, String)>,
}

impl Check<'_> {
    /// What came of a file, and its text.
    fn file(&mut self, file: &Listed) -> (Outcome, Vec<u8>) {
        let name = shown(file.path.as_os_str());
        let source = match files::read(&file.path) {
            Ok(source) => source,
            Err(error) => {
                let problem = Diagnostic::of_file(&name, format!("{error:#}"), None);
                return (Outcome::Checked(vec![problem]), Vec::new());
            }
        };
        if !file.named && !input::is_ours(&name, &source) {
            return (Outcome::Beside(Beside::Other), source);
        }
        let mut found = Found::default();
        let mut beside = None;
        let mut any = false;
        for read in input::read_file(&name, &source, self.strict) {
            if let (Some(what), false) = (read.beside, file.named) {
                beside = beside.max(Some(what));
                continue;
            }
            any = true;
            let twice = read.object.and_then(|object| self.object(object));
            let allowed = |rule: &str| self.allow.iter().any(|allowed| allowed == rule);
            for diagnostic in read.diagnostics.into_iter().chain(twice) {
                if !diagnostic.rule.is_some_and(allowed) {
                    found.add(diagnostic);
                }
            }
            if found.is_full() {
                break;
            }
        }
        if any {
            return (Outcome::Checked(found.finish(&name)), source);
        }
        if !file.named {
            let beside = beside.unwrap_or(Beside::Other);
            return (Outcome::Beside(beside), source);
        }
        let help = "checked are our kinds of objects, seccomp JSON, AppArmor text and CIL";
        let message = "there is no profile in this file".to_owned();
        let problem = Diagnostic::of_file(&name, message, Some(help));
        (Outcome::Checked(vec![problem]), source)
    }

    /// Notes an object; what to tell if it is there already. In one file that is an error. Files
    /// may be for several clusters, or environments, so that of others it is advice.
    fn object(&mut self, object: (Identifier, Diagnostic)) -> Option<Diagnostic> {
        let (identifier, mut twice) = object;
        let Diagnostic {
            file, line, column, ..
        } = &twice;
        let here = (file.clone(), format!("{file}:{line}:{column}"));
        let (first_file, first) = self.objects.insert(identifier, here)?;
        if first_file != *file {
            if !self.strict {
                return None;
            }
            twice.severity = Severity::Warning;
        }
        let help = "give one of them another name, or check them one by one";
        twice.help = Some(format!("the first is at {first}; {help}"));
        Some(twice)
    }
}
