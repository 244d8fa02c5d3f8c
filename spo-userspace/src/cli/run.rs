//! `spo run`: a command under a profile, and what the profile denies.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::args::RunArgs;
use super::children::{Children, signalled};
use super::exit::Failure;
use super::held::{Held, Start, shown};
use super::progress::line;
use super::signals::{Arrived, Signals, event_loop};
use crate::bpf::Ready;
use crate::bpf::denials::Watcher;
use crate::bpf::kernel::Kernel;
use crate::event::{Call, Comm, Denial};
use crate::node::{filter, machine, process, program};
use crate::profile::arch::Arch;
use crate::profile::diagnostic::{has_errors, render};
use crate::profile::seccomp::{self, SeccompSpec, write_raw};
use crate::recorder::{NamedCall, count};

/// Different denials that are named; more are counted.
const MOST_NAMED: usize = 256;

/// Runs the command until its last descendant ends.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let spec = read(args)?;
    let (_, report) = filter::build(&spec).context("the profile makes no filter")?;
    for skipped in &report.skipped {
        line(format_args!("warning: {skipped}"));
    }
    program::find(args.command.first().context("no command")?)?;
    let nonce = super::held::nonce().context("failed to read /dev/urandom")?;
    let mut watcher = match watch(nonce) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            line(format_args!("denied calls cannot be named: {error:#}"));
            None
        }
    };
    let held = Held::start(&Start {
        command: &args.command,
        privileged: args.privileged,
        nonce,
        profile: Some(
            write_raw(&spec)
                .context("failed to write the profile")?
                .as_bytes(),
        ),
    })?;
    let mut children = Children::adopt(held.pid())?;
    let mut denials = Denials::default();
    let (runtime, signals) = event_loop().context("failed to start the event loop")?;
    let released = held.release(|| {
        watcher
            .as_ref()
            .map_or(Ok(true), |watcher| Ok(watcher.is_armed()?))
    });
    if let Err(failure) = released {
        // What was denied explains why the command did not even begin.
        if let Some(watcher) = &mut watcher {
            denials.tell(watcher);
        }
        return Err(failure);
    }
    runtime.block_on(wait(signals, &mut children, watcher.as_mut(), &mut denials))?;
    denials.conclude(watcher.as_mut())?;
    let code = children
        .code()
        .context("the command's exit code got lost")?;
    if code == signalled(Signal::SIGSYS) && denials.is_empty() {
        line(format_args!(
            "the command died of SIGSYS: the profile killed it for a call that spo did not see"
        ));
    }
    Ok(ExitCode::from(code))
}

fn read(args: &RunArgs) -> Result<SeccompSpec> {
    let path = shown(args.profile.as_os_str());
    let text = std::fs::read(&args.profile)
        .with_context(|| format!("failed to read the profile {path}"))?;
    let (document, diagnostics) = seccomp::read(&path, &text);
    if !diagnostics.is_empty() {
        let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
        line(format_args!(
            "{path} has problems:\n{}",
            render(&diagnostics, &text, color)
        ));
    }
    match document {
        Some(document) if !has_errors(&diagnostics) => {
            let machine = machine::without_capabilities();
            Ok(document.into_spec(&machine.context("failed to tell what machine this is")?))
        }
        _ => Err(anyhow!(
            "the profile {path} is not valid, so nothing was run"
        )),
    }
}

fn watch(nonce: u32) -> Result<Watcher> {
    let pid_max = process::pid_max().context("failed to read kernel.pid_max")?;
    Ok(Watcher::start(&Kernel::probe()?, nonce, pid_max)?)
}

async fn wait(
    mut signals: Signals,
    children: &mut Children,
    mut watcher: Option<&mut Watcher>,
    denials: &mut Denials,
) -> Result<()> {
    let records = watcher.as_deref().map(Ready::of).transpose()?;
    loop {
        // What ended before the handler stood is seen here.
        if children.reap()? {
            return Ok(());
        }
        let records = async {
            match &records {
                Some(records) => records.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            arrived = signals.next() => match arrived? {
                Arrived::Child => {}
                // What the command left behind goes on without being watched.
                Arrived::End(_) if children.code().is_some() => return Ok(()),
                Arrived::End(wish) => children.pass_on(wish),
            },
            ready = records => ready?,
        }
        if let Some(watcher) = &mut watcher {
            denials.tell(watcher);
        }
    }
}

/// The denials so far: each is named once.
#[derive(Default)]
struct Denials {
    named: BTreeSet<(Call, Comm)>,
    all: u64,
}

impl Denials {
    fn is_empty(&self) -> bool {
        self.all == 0
    }

    fn tell(&mut self, watcher: &mut Watcher) {
        while let Some(denial) = watcher.take() {
            self.all += 1;
            if self.named.len() < MOST_NAMED && self.named.insert((denial.call, denial.comm)) {
                line(format_args!("denied {}", describe(&denial)));
            }
        }
    }

    fn conclude(&mut self, watcher: Option<&mut Watcher>) -> Result<()> {
        let Some(watcher) = watcher else {
            return Ok(());
        };
        self.tell(watcher);
        let uncertain = watcher.uncertain()?;
        if self.all > 0 {
            line(format_args!(
                "{} denied, {} named above",
                count(self.all, "call"),
                count(self.named.len(), "different one")
            ));
        }
        if uncertain > 0 {
            line(format_args!(
                "{uncertain} records or runs of the watcher were lost: denials may be missing above, or wrong"
            ));
        }
        Ok(())
    }
}

fn describe(denial: &Denial) -> String {
    let Denial {
        call,
        result,
        killed,
        tgid,
        comm,
    } = denial;
    let named = std::env::consts::ARCH;
    let what = Arch::from_machine(named).map_or_else(
        || format!("number {}", call.number),
        |host| NamedCall::of(*call, host).to_string(),
    );
    let outcome = match i32::try_from(-result) {
        _ if *killed => "killed".to_owned(),
        Ok(errno) if (1..4096).contains(&errno) => format!("{:?}", Errno::from_raw(errno)),
        // On x86, a filter that traps or kills puts the number back where the result would stand
        // (`syscall_rollback`).
        _ if cfg!(target_arch = "x86_64") && *result & !0x4000_0000 == i64::from(call.number) => {
            "SIGSYS".to_owned()
        }
        _ => format!("returned {result}"),
    };
    format!("{what} of {comm}[{tgid}]: {outcome}")
}
