//! `spo record`: from a running program to a profile.

mod joined;
mod session;
mod write;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use self::session::{Ending, Session};
use super::args::{RecordArgs, RecordKind, base_syscalls};
use super::exit::{Failure, USAGE};
use super::held::{self, Held, Start, shown};
use super::progress::line;
use crate::bpf::kernel::Kernel;
use crate::bpf::recorder::{Limits, Recorder, Target};
use crate::event::Call;
use crate::node::output::Output;
use crate::node::{process, program};
use crate::profile::arch::Arch;
use crate::profile::diagnostic::escape;

/// What a recording is of.
enum Subject {
    /// A command.
    Command,
    /// What runs already.
    Joined(joined::Joined),
    /// Everything outside the host's mount namespace.
    Everything,
    /// The containers that a command starts.
    NewContainers,
}

/// What is recorded under which name, and what is known before it begins.
struct Plan {
    subject: Subject,
    target: Target,
    nonce: u32,
    name: String,
    partial: Vec<String>,
}

/// Records, and writes what it recorded.
pub(super) fn run(args: RecordArgs) -> Result<ExitCode, Failure> {
    refuse_unknown_kind(args.kind)?;
    if !process::proc_is_ours() {
        return Err(anyhow!(
            "/proc tells about another pid namespace than this one, or is not mounted: mount it \
             here (unshare --mount-proc)"
        )
        .into());
    }
    let plan = plan(&args)?;
    let output_name = shown(args.output_file.as_os_str());
    let output = Output::prepare(&args.output_file, || {
        line(format_args!("waiting for a reader of {output_name}"));
    })
    .with_context(|| format!("cannot write {output_name}"))?;
    // A missing command is found before anything is loaded into the kernel.
    if let (Subject::Command | Subject::NewContainers, Some(name)) =
        (&plan.subject, args.command.first())
    {
        program::find(name)?;
    }
    let (kernel_release, machine) =
        process::kernel().context("failed to ask for the kernel's name")?;
    let host = Arch::from_machine(&machine).with_context(|| {
        format!("the architecture {machine} is not supported: its system calls are in no table")
    })?;
    let kernel = Kernel::probe()?;
    let limits = limits(&args, plan.target)?;
    let recorder = Recorder::start(&kernel, plan.target, limits)?;
    let blocked = match &plan.subject {
        Subject::Joined(joined) => {
            process::blocked_calls(&joined.processes().context("failed to list processes")?)
        }
        _ => BTreeSet::new(),
    };
    let everything = matches!(plan.subject, Subject::Everything);
    let session = Session::new(recorder, &plan.name, args.timeout);
    let (finished, ending) = match plan.subject {
        Subject::Command | Subject::NewContainers => {
            let held = Held::start(&Start {
                command: &args.command,
                privileged: args.privileged,
                nonce: plan.nonce,
                profile: None,
            })?;
            session.follow_command(held, matches!(plan.subject, Subject::NewContainers))?
        }
        Subject::Joined(joined) => (session.follow_joined(joined)?, Ending::Joined),
        Subject::Everything => (session.until_interrupted()?, Ending::Joined),
    };
    let request = write::Request {
        kind: args.kind,
        output,
        path: &args.output_file,
        host,
        kernel: kernel_release,
        base: base_syscalls(args.no_base_syscalls, args.base_syscalls),
        name: plan.name,
        partial: plan.partial,
        blocked: &blocked,
        everything,
    };
    write::write(request, finished, ending)?;
    Ok(ending.code())
}

fn refuse_unknown_kind(kind: RecordKind) -> Result<(), Failure> {
    let name = match kind {
        RecordKind::Seccomp | RecordKind::RawSeccomp => return Ok(()),
        RecordKind::Apparmor | RecordKind::RawApparmor => "AppArmor profiles",
        RecordKind::Selinux => "SELinux profiles",
        RecordKind::All => "all types of profile at once",
    };
    Err(anyhow!("{name} cannot be recorded yet: use --type seccomp or --type raw-seccomp").into())
}

fn plan(args: &RecordArgs) -> Result<Plan, Failure> {
    let ways = [
        ("--pid", args.pid.is_some()),
        ("--container", args.container.is_some()),
        ("--no-proc-start", args.no_proc_start),
        ("a command", !args.command.is_empty()),
    ];
    let given: Vec<&str> = ways
        .iter()
        .filter(|(_, given)| *given)
        .map(|(name, _)| *name)
        .collect();
    match given.as_slice() {
        [_] => {}
        [] => {
            return Err(usage(
                "nothing to record: give a command, --pid, --container or --no-proc-start",
            ));
        }
        [first, second, ..] => {
            return Err(usage(&format!("{first} and {second} exclude each other")));
        }
    }
    let nonce = held::nonce().context("failed to read /dev/urandom")?;
    let mut partial = Vec::new();
    let (subject, target, name) = if let Some(name) = args.command.first() {
        let name = name.to_string_lossy();
        if process::is_filtered(std::process::id().cast_signed()).unwrap_or(false) {
            partial.push(
                "spo itself runs under a seccomp filter, and what that one refuses is not seen"
                    .to_owned(),
            );
        }
        let base = name.rsplit('/').next().unwrap_or_default().to_owned();
        if args.new_containers {
            (Subject::NewContainers, Target::NewNamespaces, base)
        } else {
            (Subject::Command, Target::Command { nonce }, base)
        }
    } else if args.no_proc_start {
        partial.push("what ran before the recording began was joined late".to_owned());
        let except =
            process::host_mount_namespace().context("failed to find the host's mount namespace")?;
        (
            Subject::Everything,
            Target::AllNamespaces { except },
            "recording".to_owned(),
        )
    } else {
        let joined = joined::Joined::find(args.pid, args.container.as_deref())?;
        partial.push(format!(
            "it joined process {} after that one began",
            joined.pid()
        ));
        let (target, name) = (joined.target(), joined.name());
        (Subject::Joined(joined), target, name)
    };
    Ok(Plan {
        subject,
        target,
        nonce,
        name,
        partial,
    })
}

fn usage(text: &str) -> Failure {
    Failure::new(USAGE, anyhow!("{text} (spo record --help)"))
}

fn limits(args: &RecordArgs, target: Target) -> Result<Limits, Failure> {
    let pid_max = process::pid_max().context("failed to read kernel.pid_max")?;
    let mut limits = Limits::for_target(target, pid_max);
    for pair in &args.map_sizes {
        let (name, size) = pair
            .split_once('=')
            .ok_or_else(|| usage("--map-sizes takes NAME=SIZE"))?;
        let size: u32 = size
            .parse()
            .map_err(|error: std::num::ParseIntError| usage(&format!("--map-sizes: {error}")))?;
        *match name {
            "subjects" => &mut limits.subjects,
            "namespaces" => &mut limits.namespaces,
            "threads" => &mut limits.threads,
            "unnamed" => &mut limits.unnamed,
            "ring" => &mut limits.ring,
            _ => {
                return Err(usage(
                    "--map-sizes knows subjects, namespaces, threads, unnamed and ring",
                ));
            }
        } = size;
    }
    Ok(limits)
}

/// Adds calls to a sorted list.
fn add(calls: &mut Vec<Call>, more: &BTreeSet<Call>) {
    let all: BTreeSet<Call> = calls.iter().chain(more).copied().collect();
    *calls = all.into_iter().collect();
}

/// Says what a recording begins with.
fn announce(name: &str, how: &str) {
    line(format_args!("recording {}{how}", escape(name)));
}
