//! The command line of the reference (`spoc`), which a link of that name to `spo` understands.
//!
//! Its `record` and `run` have the same flags and defaults. Its other verbs are not there yet.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, Parser, Subcommand};

use super::args::{RecordArgs, RecordKind, RunArgs, syscall};
use super::exit::{FAILED, Failure, USAGE};
use super::progress::{line, output};
use super::{record, run};

/// Record and run with security profiles (spo under the name that scripts know).
#[derive(Debug, Parser)]
#[command(name = "spoc", version)]
struct Spoc {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Record a command
    #[command(visible_alias = "r")]
    Record(Record),
    /// Run a command with a profile
    #[command(visible_alias = "x")]
    Run(Run),
    /// Not there yet
    #[command(visible_alias = "m")]
    Merge(Rest),
    /// Not there yet
    #[command(visible_alias = "c")]
    Convert(Rest),
    /// Not there yet
    #[command(visible_alias = "i")]
    Install(Rest),
    /// Not there yet
    #[command(visible_alias = "rm")]
    Remove(Rest),
    /// Not there yet
    #[command(visible_alias = "p")]
    Push(Rest),
    /// Not there yet
    #[command(visible_alias = "l")]
    Pull(Rest),
    /// Print the version
    #[command(visible_alias = "v")]
    Version,
}

#[derive(Debug, Args)]
struct Record {
    /// File to write
    #[arg(short, long, default_value = "/tmp/profile.yaml")]
    output_file: PathBuf,
    /// What to write
    #[arg(short = 't', long = "type", default_value = "seccomp")]
    kind: RecordKind,
    /// Calls to add to those recorded
    #[arg(short, long, value_delimiter = ',', value_parser = syscall)]
    base_syscalls: Option<Vec<String>>,
    /// Add no base calls
    #[arg(short, long)]
    no_base_syscalls: bool,
    /// Start nothing: record everything outside the host's mount namespace until Ctrl-C
    #[arg(long)]
    no_proc_start: bool,
    /// Run the command as root
    #[arg(long)]
    privileged: bool,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
struct Run {
    /// The profile
    #[arg(short, long, default_value = "/tmp/profile.yaml")]
    profile: PathBuf,
    /// Type of the profile
    #[arg(short = 't', long = "type", default_value = "seccomp")]
    kind: RecordKind,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Arguments of a verb that is not there yet.
#[derive(Debug, Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<OsString>,
}

/// Runs what the arguments of this process name.
pub(super) fn main() -> Result<ExitCode, Failure> {
    let Spoc { verb } = Spoc::parse();
    let missing = match verb {
        Verb::Record(args) => return record::run(as_record(args)),
        Verb::Run(args) => return as_run(args),
        Verb::Version => {
            output(concat!("spoc ", env!("CARGO_PKG_VERSION"), "\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Merge(_) => "merge",
        Verb::Convert(_) => "convert",
        Verb::Install(_) => "install",
        Verb::Remove(_) => "remove",
        Verb::Push(_) => "push",
        Verb::Pull(_) => "pull",
    };
    Err(Failure::new(
        FAILED,
        anyhow!("`spoc {missing}` is not there yet: this version has record and run"),
    ))
}

fn as_record(args: Record) -> RecordArgs {
    let Record {
        output_file,
        kind,
        base_syscalls,
        no_base_syscalls,
        no_proc_start,
        privileged,
        mut command,
    } = args;
    if no_proc_start && !command.is_empty() {
        line(format_args!(
            "--no-proc-start starts nothing: the command is ignored"
        ));
        command.clear();
    }
    RecordArgs {
        output_file,
        kind,
        base_syscalls,
        no_base_syscalls,
        no_proc_start,
        privileged,
        pid: None,
        container: None,
        new_containers: false,
        timeout: None,
        map_sizes: Vec::new(),
        command,
    }
}

fn as_run(args: Run) -> Result<ExitCode, Failure> {
    let Run {
        profile,
        kind,
        command,
    } = args;
    if kind != RecordKind::Seccomp {
        return Err(Failure::new(
            USAGE,
            anyhow!("`spoc run` takes seccomp profiles only: --type seccomp"),
        ));
    }
    run::run(&RunArgs {
        profile,
        privileged: true,
        command,
    })
}
