//! The arguments of the verbs that read and write profiles: check, merge, convert, diff.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Form;
use crate::api;
use crate::profile::lint::{RULES, Rule};

const CHECK_EXAMPLES: &str = "\
Examples:
  spo check profile.yaml                   one file, with all its problems
  spo check deploy/                        every profile below a folder
  spo check --strict deploy/               lints, too; any finding fails
  spo check --strict --allow io-uring-bypass profile.yaml
                                           but for this one
  spo check -o sarif deploy/ > spo.sarif   for code scanning
  spo check -o github deploy/              annotations in a GitHub workflow

Takes objects of all kinds (YAML or JSON), OCI and container engine seccomp JSON, AppArmor
text and CIL. A comment `# spo: allow(RULE)` in a file silences a lint there.

Exit codes: 0 no errors; 1 errors, or with --strict any finding; 2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(in crate::cli) struct CheckArgs {
    /// Files and folders; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,

    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "human")]
    pub(in crate::cli) output: ReportForm,

    /// Run the lints too, and fail on any finding
    #[arg(long)]
    pub(in crate::cli) strict: bool,

    /// Findings to leave out, by the name in brackets
    #[arg(long, value_name = "RULE", value_delimiter = ',', value_parser = rule)]
    pub(in crate::cli) allow: Vec<String>,
}

/// All lints.
pub(in crate::cli) fn lints() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().chain([&api::LINTS]).copied().flatten()
}

/// The name of a lint.
fn rule(name: &str) -> Result<String, String> {
    if lints().any(|rule| rule.id == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = lints().map(|rule| rule.id).collect();
    Err(format!("no such finding; there are {}", names.join(", ")))
}

/// How problems are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ReportForm {
    /// For people, with the lines that are meant
    Human,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Workflow commands of GitHub Actions
    Github,
}

const MERGE_EXAMPLES: &str = "\
Examples:
  spo merge a.yaml b.yaml > all.yaml       what either allows
  spo merge -o all.yaml run-*.yaml
  spo merge --check committed.yaml new.yaml
                                           is committed.yaml wide enough? exit 1 if not

All inputs have the same kind. The result has the form, the name and the labels of the first.

Exit codes: 0 done, or up to date; 1 --check: not up to date, or an input is not valid;
2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = MERGE_EXAMPLES)]
pub(in crate::cli) struct MergeArgs {
    /// The profiles; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,

    /// File to write, - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(in crate::cli) output_file: PathBuf,

    /// Write nothing: tell whether the first profile already is the result
    #[arg(short, long)]
    pub(in crate::cli) check: bool,
}

const CONVERT_EXAMPLES: &str = "\
Examples:
  spo convert profile.yaml                 what the runtime or the kernel's tools read
  spo convert --to object old.yaml         objects of older versions as v1
  spo convert --to object -p web seccomp.json
                                           an object from OCI JSON
  spo convert --complain profile.yaml      log what would be denied
  spo convert --complain --keep-blocked bpf,ptrace profile.yaml
                                           but deny these all the same
  spo convert --enforce complaining.yaml   and back

Exit codes: 0 done; 1 an input is not valid, or cannot be said in the form; 2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub(in crate::cli) struct ConvertArgs {
    /// The profile; - is standard input
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,

    /// File to write, - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(in crate::cli) output_file: PathBuf,

    /// Name of the profile that is written
    #[arg(short, long, value_name = "NAME")]
    pub(in crate::cli) program_name: Option<String>,

    /// Form of the result; raw, or with --complain and --enforce the form of the input
    #[arg(long, value_name = "FORM")]
    pub(in crate::cli) to: Option<ProfileForm>,

    /// Complain mode: what was denied is logged
    #[arg(long, conflicts_with = "enforce")]
    pub(in crate::cli) complain: bool,

    /// System calls that stay blocked in complain mode
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "complain", value_parser = super::syscall)]
    pub(in crate::cli) keep_blocked: Vec<String>,

    /// Back from complain mode
    #[arg(long)]
    pub(in crate::cli) enforce: bool,
}

/// The forms of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ProfileForm {
    /// OCI seccomp JSON, AppArmor text, CIL
    Raw,
    /// The Kubernetes object, in the current version
    Object,
}

const DIFF_EXAMPLES: &str = "\
Examples:
  spo diff committed.yaml recorded.yaml    what either allows that the other does not
  spo diff -o json a.json b.yaml           in any two forms
  spo record -o new.yaml -- ./tests.sh && spo diff committed.yaml new.yaml

Exit codes: 0 they allow the same; 1 they differ; 2 wrong command line; 3 an input is not valid.";

#[derive(Debug, Args)]
#[command(after_help = DIFF_EXAMPLES)]
pub(in crate::cli) struct DiffArgs {
    /// The profile that is compared with; - is standard input
    #[arg(value_name = "A")]
    pub(in crate::cli) left: PathBuf,

    /// The profile that is compared; - is standard input
    #[arg(value_name = "B")]
    pub(in crate::cli) right: PathBuf,

    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(in crate::cli) output: Form,
}
