//! The command line of the reference (`spoc`), which a link of that name to `spo` understands.
//!
//! Its `record`, `run`, `merge` and `convert` have the same flags and defaults. Its other verbs are
//! not there yet.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use super::args::{ConvertArgs, MergeArgs, ProfileForm, RecordArgs, RecordKind, RunArgs, syscall};
use super::exit::{FAILED, Failure, USAGE};
use super::progress::{line, output};
use super::{convert, merge, record, run};

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
    /// Make one profile that allows what any of several allows
    #[command(visible_alias = "m")]
    Merge(Merge),
    /// Write a profile as runtimes and AppArmor read it
    #[command(visible_alias = "c")]
    Convert(Convert),
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
    #[arg(short, long, value_parser = syscalls)]
    base_syscalls: Option<Names>,
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

#[derive(Debug, Args)]
struct Merge {
    /// File to write
    #[arg(short, long, default_value = "/tmp/profile.yaml")]
    output_file: PathBuf,
    /// Write nothing: tell whether the first profile already is the result
    #[arg(short, long)]
    check: bool,
    /// The profiles
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Convert {
    /// File to write
    #[arg(short, long, default_value = "/dev/stdout")]
    output_file: PathBuf,
    /// Name of the program that the profile is for
    #[arg(short, long)]
    program_name: Option<String>,
    /// The profile
    file: PathBuf,
}

/// Arguments of a verb that is not there yet.
#[derive(Debug, Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<OsString>,
}

/// The reference takes long flags with one dash, too (`-output-file`). Where the command begins,
/// its own flags are left alone.
fn with_two_dashes(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.peekable();
    let mut result: Vec<OsString> = words.next().into_iter().collect();
    let Some(verb) = words.next() else {
        return result;
    };
    let spoc = Spoc::command();
    let known = verb
        .to_str()
        .and_then(|verb| spoc.find_subcommand(verb))
        .map(|verb| verb.get_arguments().collect::<Vec<_>>())
        .unwrap_or_default();
    result.push(verb);
    while let Some(word) = words.next_if(|word| word.as_encoded_bytes().starts_with(b"-")) {
        let text = word.to_string_lossy().into_owned();
        let name = text.trim_start_matches('-');
        let (name, value) = name
            .split_once('=')
            .map_or((name, None), |(name, value)| (name, Some(value)));
        let long = known.iter().find(|arg| arg.get_long() == Some(name));
        let short = known.iter().find(|arg| {
            arg.get_short()
                .is_some_and(|short| text == format!("-{short}"))
        });
        let is_long = long.is_some() && text.starts_with('-') && !text.starts_with("--");
        result.push(if is_long {
            format!("-{text}").into()
        } else {
            word
        });
        if text == "--" {
            break;
        }
        let takes_more = long
            .or(short)
            .is_some_and(|arg| arg.get_action().takes_values());
        if takes_more && value.is_none() {
            result.extend(words.next());
        }
    }
    result.extend(words);
    result
}

/// A list of calls, which may be empty.
#[derive(Clone, Debug)]
struct Names(Vec<String>);

fn syscalls(list: &str) -> Result<Names, String> {
    let names = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names.map(syscall).collect::<Result<_, _>>().map(Names)
}

/// Runs what the arguments of this process name.
pub(super) fn main() -> Result<ExitCode, Failure> {
    let Spoc { verb } = Spoc::parse_from(with_two_dashes(std::env::args_os()));
    let missing = match verb {
        Verb::Record(args) => return record::run(as_record(args)),
        Verb::Run(args) => return as_run(args),
        Verb::Merge(args) => {
            let Merge {
                output_file,
                check,
                files,
            } = args;
            return merge::run(&MergeArgs {
                files,
                output_file,
                check,
            });
        }
        Verb::Convert(args) => {
            let Convert {
                output_file,
                program_name,
                file,
            } = args;
            return convert::run(&ConvertArgs {
                file,
                output_file,
                program_name,
                to: Some(ProfileForm::Raw),
                complain: false,
                keep_blocked: Vec::new(),
                enforce: false,
            });
        }
        Verb::Version => {
            output(concat!("spoc ", env!("CARGO_PKG_VERSION"), "\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Install(_) => "install",
        Verb::Remove(_) => "remove",
        Verb::Push(_) => "push",
        Verb::Pull(_) => "pull",
    };
    Err(Failure::new(
        FAILED,
        anyhow!(
            "`spoc {missing}` is not there yet: this version has record, run, merge and convert"
        ),
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
        base_syscalls: base_syscalls.map(|Names(names)| names),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_flags_may_have_one_dash() {
        for (given, taken) in [
            (
                "spoc r -output-file x ls -la",
                "spoc r --output-file x ls -la",
            ),
            (
                "spoc record -output-file=x -n ls",
                "spoc record --output-file=x -n ls",
            ),
            (
                "spoc r -o -type -t raw-seccomp ls -type",
                "spoc r -o -type -t raw-seccomp ls -type",
            ),
            ("spoc r -n -- -type x", "spoc r -n -- -type x"),
            (
                "spoc x -profile p find -type f",
                "spoc x --profile p find -type f",
            ),
            ("spoc", "spoc"),
            ("spoc nothing -type", "spoc nothing -type"),
        ] {
            let words = with_two_dashes(given.split(' ').map(OsString::from));
            assert_eq!(words.join(std::ffi::OsStr::new(" ")), taken);
        }
    }

    #[test]
    fn lists_of_calls() {
        assert_eq!(syscalls("read, write,").unwrap().0, ["read", "write"]);
        assert!(syscalls("").unwrap().0.is_empty());
        assert!(syscalls("read,wirte").is_err());
    }
}
