//! `spo doctor`: what can be recorded and observed here, and how to mend what cannot.

use std::process::ExitCode;

use serde::Serialize;

use super::args::{DoctorArgs, Form};
use super::exit::{FAILED, Failure};
use super::progress::output;
use crate::bpf;
use crate::bpf::filters::{Filters, Unread};
use crate::bpf::kernel::Kernel;
use crate::bpf::recorder::{Limits, Recorder, Target};
use crate::node::capabilities::{self, Capability};
use crate::node::process;
use crate::profile::arch::Arch;

/// One question, and its answer.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    detail: String,
    /// What to do about a "no".
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Prints the findings; exit code 1 if any is a "no".
pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let findings = findings();
    match args.output {
        Form::Json => {
            let text = serde_json::to_string_pretty(&findings)
                .map_err(|error| Failure::new(FAILED, error))?;
            output(&format!("{text}\n"))?;
        }
        Form::Table => output(&table(&findings))?,
    }
    Ok(if findings.iter().all(|finding| finding.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn table(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or_default();
    let mut lines = Vec::new();
    for Finding {
        check,
        ok,
        detail,
        fix,
    } in findings
    {
        let answer = if *ok { "yes" } else { "NO" };
        lines.push(format!("{answer:<3}  {check:<width$}  {detail}\n"));
        if let Some(fix) = fix {
            lines.push(format!("{:width$}       fix: {fix}\n", ""));
        }
    }
    lines.concat()
}

fn yes(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding {
        check,
        ok: true,
        detail: detail.into(),
        fix: None,
    }
}

fn no(check: &'static str, detail: impl Into<String>, fix: &str) -> Finding {
    Finding {
        check,
        ok: false,
        detail: detail.into(),
        fix: Some(fix.to_owned()),
    }
}

fn findings() -> Vec<Finding> {
    let mut findings = vec![architecture()];
    findings.extend(privileges());
    let kernel = Kernel::probe();
    findings.push(match &kernel {
        Ok(kernel) if kernel.typed_loads() => yes("kernel types (BTF)", bpf::kernel::BTF_PATH),
        Ok(_) => yes(
            "kernel types (BTF)",
            "reads through a helper: a kernel before 5.11 (slower)",
        ),
        Err(bpf::Error::Permission) => no(
            "kernel types (BTF)",
            "unknown: the kernel may not be asked",
            "see the privileges above",
        ),
        Err(error) => no(
            "kernel types (BTF)",
            chain(error),
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels are",
        ),
    });
    if let Ok(kernel) = &kernel {
        findings.push(recording(kernel));
        findings.push(denials(kernel));
        findings.push(filters(kernel));
    }
    findings.push(pid_namespace());
    findings.push(host_namespace());
    findings.push(own_filter());
    findings
}

fn architecture() -> Finding {
    let check = "architecture";
    match process::kernel() {
        Ok((release, machine)) => match Arch::from_machine(&machine) {
            Some(arch) => yes(check, format!("{arch}, Linux {release}")),
            None => no(check, machine, "record on x86_64, aarch64 or riscv64"),
        },
        Err(error) => no(check, error.to_string(), "report this"),
    }
}

/// What each capability is for.
const PURPOSES: [(Capability, &str); 3] = [
    (capabilities::BPF, "load the programs"),
    (
        capabilities::PERFMON,
        "attach them, and let them read kernel structures",
    ),
    (
        capabilities::SYS_PTRACE,
        "join other users' processes (--pid, --container), and name their calls",
    ),
];

fn privileges() -> Vec<Finding> {
    if !capabilities::in_initial_user_namespace() {
        return vec![no(
            "privileges",
            "this is a user namespace of its own: its capabilities do not count for the kernel's programs",
            "run spo in the host's user namespace (not in a rootless container, nor below unshare -U)",
        )];
    }
    PURPOSES
        .iter()
        .map(|(capability, purpose)| {
            if capabilities::has(*capability) {
                yes(capability.1, *purpose)
            } else {
                no(
                    capability.1,
                    format!("missing: to {purpose}"),
                    "run spo as root (sudo), or grant it: setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep FILE",
                )
            }
        })
        .collect()
}

fn recording(kernel: &Kernel) -> Finding {
    let check = "record system calls";
    let target = Target::Command { nonce: 0 };
    let tried = Recorder::start(kernel, target, Limits::for_target(target, 1024))
        .and_then(|recorder| recorder.finish(|_| ()));
    match tried {
        Ok(_) => yes(check, "the programs load, attach and detach"),
        Err(error) => no(
            check,
            chain(&error),
            "the reason above tells what is missing; a kernel from 5.10 on with BPF, BTF and ring buffers is needed",
        ),
    }
}

fn denials(kernel: &Kernel) -> Finding {
    let check = "name denied calls";
    match bpf::denials::Watcher::start(kernel, 0, 1024) {
        Ok(_) => yes(check, "the programs load, attach and detach"),
        Err(error) => no(
            check,
            chain(&error),
            "the reason above tells what is missing",
        ),
    }
}

fn filters(kernel: &Kernel) -> Finding {
    let check = "verify filters";
    let read = || -> Result<Option<Unread>, bpf::Error> {
        let mut filters = Filters::load(kernel)?;
        let tasks = filters.tasks()?;
        let filtered = tasks.into_iter().find(|task| task.filters > 0);
        let chains = filters.chains(filtered.as_slice())?;
        Ok(chains.into_iter().find_map(Result::err))
    };
    match read() {
        Ok(Some(Unread::NotKept)) => no(
            check,
            Unread::NotKept.to_string(),
            "use a kernel with that option, as distributions have it",
        ),
        Ok(_) => yes(check, "the programs load, and tell filters"),
        Err(error) => no(
            check,
            chain(&error),
            "the reason above tells what is missing",
        ),
    }
}

fn pid_namespace() -> Finding {
    let check = "join process trees";
    match process::in_initial_pid_namespace() {
        Ok(true) => yes(check, "this is the host's pid namespace"),
        Ok(false) => no(
            check,
            "this is a pid namespace of its own",
            "run spo in the host's pid namespace (docker run --pid=host, hostPID: true)",
        ),
        Err(error) => no(check, error.to_string(), "mount /proc"),
    }
}

fn host_namespace() -> Finding {
    let check = "know the host's namespace";
    match process::host_mount_namespace() {
        Ok(number) => yes(check, format!("mnt:[{number}]")),
        Err(error) => no(
            check,
            error.to_string(),
            "see CAP_SYS_PTRACE and the pid namespace above",
        ),
    }
}

fn own_filter() -> Finding {
    let check = "no filter of its own";
    match process::is_filtered(std::process::id().cast_signed()) {
        Ok(false) => yes(check, "commands are recorded whole"),
        Ok(true) => no(
            check,
            "spo runs under a seccomp filter: commands inherit it, and what it refuses is not seen",
            "run spo without one (docker run --security-opt seccomp=unconfined)",
        ),
        Err(error) => no(check, error.to_string(), "mount /proc"),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    // A verifier's log is long; its last line says it.
    text.lines().last().unwrap_or_default().to_owned()
}
