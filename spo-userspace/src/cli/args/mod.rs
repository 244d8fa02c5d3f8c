//! The arguments of `spo`. Help, completions and man pages come from these definitions.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help texts, in which backticks would stand out"
)]

mod migrate;
mod profiles;
mod services;
mod uninstall;
mod verify;
mod webhook;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

pub(super) use self::migrate::MigrateArgs;
pub(super) use self::profiles::{
    CheckArgs, ConvertArgs, DiffArgs, MergeArgs, ProfileForm, ReportForm, lints,
};
pub(super) use self::services::{
    BpfRecorderArgs, DaemonArgs, LogEnricherArgs, LogSourceArg, NodeSetupArgs, OperatorArgs,
    ProfilesArgs, VerifierArgs, profiling_at,
};
pub(super) use self::uninstall::{KeepArg, NodeCleanupArgs, UninstallArgs};
pub(super) use self::verify::VerifyArgs;
pub(super) use self::webhook::{TlsVersion, WebhookArgs};
use crate::profile::base::BASE_SYSCALLS;
use crate::profile::syscalls;

const EXIT_CODES: &str = "\
Exit codes:
  of record and run: the command's own; 128+N if it died of signal N; 127 if it was
  not found, 126 if it cannot be executed; 125 if spo itself failed; 124 if the time
  ran out and the command did not end. 2: the command line is wrong. 1: anything else.";

/// Security profiles for Kubernetes, from recording to enforcement.
#[derive(Debug, Parser)]
#[command(name = "spo", version, propagate_version = true, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// The definition of the command line.
pub fn command() -> clap::Command {
    Cli::command()
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Record which system calls a program makes, and write a profile that allows them
    Record(RecordArgs),
    /// Run a command under a seccomp profile, and name what the profile denies
    Run(RunArgs),
    /// Tell everything that is wrong with profiles
    Check(CheckArgs),
    /// Make one profile that allows what any of several allows
    Merge(MergeArgs),
    /// Write a profile in another form, version or mode
    Convert(ConvertArgs),
    /// Tell what one profile allows and another does not
    Diff(DiffArgs),
    /// Bring the objects of a cluster from older versions to v1
    Migrate(MigrateArgs),
    /// Tell what a cluster has of profiles: on which nodes they are, and who uses them
    Profiles(ProfilesArgs),
    /// Tell whether the containers of this node really have the profiles that their pods were given
    Verify(VerifyArgs),
    /// Remove from a cluster what the operator made, and free what its absence holds
    Uninstall(UninstallArgs),
    /// Run the operator: keep what profiles say of themselves (runs in a Deployment)
    #[command(visible_aliases = ["manager", "m"])]
    Operator(OperatorArgs),
    /// Serve the admission webhooks of a cluster (runs in a Deployment)
    #[command(visible_alias = "w")]
    Webhook(WebhookArgs),
    /// Install profiles on a node of a cluster (runs in a DaemonSet)
    #[command(visible_alias = "d")]
    Daemon(DaemonArgs),
    /// Record the containers of a node of a cluster (runs in a DaemonSet)
    #[command(visible_alias = "b")]
    BpfRecorder(BpfRecorderArgs),
    /// Record the containers of a node by audit records (runs in a DaemonSet)
    #[command(visible_alias = "l")]
    LogEnricher(LogEnricherArgs),
    /// Verify the containers of a node all the time (runs in a DaemonSet)
    Verifier(VerifierArgs),
    /// Set a node up for the daemon, as root (runs in its init container)
    #[command(alias = "non-root-enabler")]
    NodeSetup(NodeSetupArgs),
    /// Take from a node what was set up there, as root (runs in pods of uninstall)
    NodeCleanup(NodeCleanupArgs),
    /// Tell what can be recorded and observed here, and how to mend what cannot
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Write the man pages into a folder
    Man(ManArgs),
}

const RECORD_EXAMPLES: &str = "\
Examples:
  spo record -- ls -R /etc                 the command and all its descendants
  spo record -o nginx.yaml -- nginx -g 'daemon off;'
                                           until it ends, or Ctrl-C
  spo record --timeout 30s --pid 4711      what runs already (partial)
  spo record --container 3f2a9c            the same of a container, by its id
  spo record --new-containers -- docker run --rm nginx nginx -t
                                           the containers that the command starts
  spo record -t raw-seccomp -o - -- true   OCI JSON to standard output, after the output
                                           of the command

The profile holds the base calls of container runtimes too, unless -n is given.";

#[derive(Debug, Args)]
#[command(after_help = RECORD_EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "flags")]
pub(super) struct RecordArgs {
    /// File to write, - for standard output; of several profiles, each gets its name added
    #[arg(short, long, value_name = "FILE", default_value = "profile.yaml")]
    pub(super) output_file: PathBuf,

    /// What to write
    #[arg(
        short = 't',
        long = "type",
        value_name = "TYPE",
        default_value = "seccomp"
    )]
    pub(super) kind: RecordKind,

    /// Calls to add to those recorded, instead of what runc and crun need
    #[arg(short, long, value_name = "NAMES", value_delimiter = ',', value_parser = syscall)]
    pub(super) base_syscalls: Option<Vec<String>>,

    /// Add no base calls
    #[arg(short, long, conflicts_with = "base_syscalls")]
    pub(super) no_base_syscalls: bool,

    /// Start nothing: record everything outside the host's mount namespace, until Ctrl-C or --timeout
    #[arg(long)]
    pub(super) no_proc_start: bool,

    /// Under sudo, run the command as root, not as the user who called sudo
    #[arg(long)]
    pub(super) privileged: bool,

    /// Join a process that runs already: its container, or on the host itself its process tree
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub(super) pid: Option<i32>,

    /// Join a container that runs already, by its id or the beginning of it
    #[arg(long, value_name = "ID")]
    pub(super) container: Option<String>,

    /// Record the containers that start while the command runs, a profile each
    #[arg(long, requires = "command")]
    pub(super) new_containers: bool,

    /// End after this time (30s, 5m, 1h 30m); the command is asked to end (SIGTERM)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) timeout: Option<Duration>,

    /// Sizes of kernel maps, to test what happens when they are full
    #[arg(long, value_name = "NAME=SIZE", value_delimiter = ',', hide = true)]
    pub(super) map_sizes: Vec<String>,

    /// The command and its arguments
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(super) command: Vec<OsString>,
}

/// The types of profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum RecordKind {
    /// A SeccompProfile object, as YAML
    Seccomp,
    /// The JSON that OCI runtimes and the kubelet read
    RawSeccomp,
    /// Not there yet
    Apparmor,
    /// Not there yet
    RawApparmor,
    /// Not there yet
    Selinux,
    /// Not there yet
    All,
}

const RUN_EXAMPLES: &str = "\
Examples:
  spo run -p profile.yaml -- ls -R /etc    a SeccompProfile object
  spo run -p profile.json -- date          OCI JSON

Denied calls are named on standard error where the kernel lets spo see them (needs
CAP_BPF and CAP_PERFMON; the profile is in force without).";

#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(super) struct RunArgs {
    /// The profile: a SeccompProfile object (YAML or JSON), or OCI JSON
    #[arg(short, long, value_name = "FILE", default_value = "profile.yaml")]
    pub(super) profile: PathBuf,

    /// Under sudo, run the command as root, not as the user who called sudo
    #[arg(long)]
    pub(super) privileged: bool,

    /// The command and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(super) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(super) output: Form,
}

/// A table for people, JSON for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder; it must exist
    pub(super) folder: PathBuf,
}

/// The first argument of a process that waits to be recorded: no verb, because nobody calls it.
pub(super) const HOLD: &str = "__hold";

#[derive(Debug, Parser)]
#[command(name = HOLD)]
pub(super) struct HoldArgs {
    /// Number of the pipe to read from
    #[arg(long)]
    pub(super) orders: i32,

    /// Number of the pipe to write to
    #[arg(long)]
    pub(super) answers: i32,

    /// User to become
    #[arg(long)]
    pub(super) user: Option<u32>,

    /// Number of the file that has the profile to come under
    #[arg(long)]
    pub(super) profile: Option<i32>,

    /// The file to execute
    #[arg(long)]
    pub(super) program: PathBuf,

    /// The command as it was given
    #[arg(required = true, last = true)]
    pub(super) command: Vec<OsString>,
}

/// The base calls that were asked for.
pub(super) fn base_syscalls(none: bool, chosen: Option<Vec<String>>) -> Vec<String> {
    if none {
        return Vec::new();
    }
    chosen.unwrap_or_else(|| {
        BASE_SYSCALLS
            .iter()
            .map(|name| (*name).to_owned())
            .collect()
    })
}

pub(super) fn syscall(name: &str) -> Result<String, String> {
    if syscalls::known(name) {
        return Ok(name.to_owned());
    }
    Err(match syscalls::suggest(name) {
        Some(suggestion) => format!("unknown syscall, did you mean `{suggestion}`?"),
        None => "unknown syscall".to_owned(),
    })
}

/// The longest time that a recording may be given.
const LONGEST: Duration = Duration::from_hours(366 * 24);

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let time = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{text}s")
    } else {
        text.to_owned()
    };
    let time: jiff::SignedDuration = time
        .parse()
        .map_err(|error: jiff::Error| format!("{error}; write it as 90, 90s, 5m or 1h30m"))?;
    let time =
        Duration::try_from(time).map_err(|_negative| "a time cannot be negative".to_owned())?;
    if time.is_zero() || time > LONGEST {
        Err("the time must be more than zero, and no more than a year".to_owned())
    } else {
        Ok(time)
    }
}
