//! Loading a seccomp profile into this thread, with libseccomp.
//!
//! Where a profile leaves something open, this does what the container runtimes do, so that a
//! program meets the same filter here as in a container. The model is runc:
//! <https://github.com/opencontainers/runc/blob/076745a40fb6b8d84d2a31f038e987b1fdbc4b8c/libcontainer/seccomp/seccomp_linux.go>.
//! One thing of runc's is not done: calls that are newer than the profile fail with ENOSYS there.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::os::fd::AsFd;

use libseccomp::error::{SeccompErrno, SeccompError};
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use thiserror::Error;

pub use self::report::{Report, Skipped};
use crate::profile::arch::Arch;
use crate::profile::named::Named as _;
use crate::profile::seccomp::{
    Action, Architecture, Flag, LARGEST_ERRNO, Operator, SeccompSpec, SyscallArg, SyscallRule,
};
use crate::profile::syscalls;

/// With more rules than this, libseccomp is to search by halves instead of one by one.
const MANY_RULES: usize = 32;

/// Why there is no filter.
#[derive(Debug, Error)]
pub enum FilterError {
    /// libseccomp refused to begin.
    #[error("failed to set up a filter")]
    SetUp(#[source] SeccompError),
    /// libseccomp refused a rule.
    #[error("failed to add the rule {action} for {syscall}")]
    Rule {
        /// What was to happen to the call.
        action: Action,
        /// The call.
        syscall: String,
        /// Why not.
        #[source]
        source: SeccompError,
    },
    /// The profile asks another process.
    #[error("SCMP_ACT_NOTIFY needs a process that listens, and there is none")]
    Notify,
    /// libseccomp takes no larger number than [`LARGEST_ERRNO`].
    #[error("{value} is too large for an error number")]
    ErrnoValue {
        /// The value of `errnoRet`.
        value: u32,
    },
    /// A tracer is told 16 bits.
    #[error("{value} is too large for what SCMP_ACT_TRACE can tell a tracer")]
    TraceValue {
        /// The value of `errnoRet`.
        value: u32,
    },
    /// The kernel refused the filter.
    #[error("failed to load the filter into the kernel")]
    Load(#[source] SeccompError),
}

/// A filter that is ready to be loaded.
pub struct Filter {
    context: ScmpFilterContext,
}

/// Makes a filter of a profile.
///
/// It does not take in the profile's base profile. Everything that can fail for the profile's
/// sake fails here, and what there is to tell is told here: after [`Filter::load`] the filter
/// may not let this process tell anything.
pub fn build(spec: &SeccompSpec) -> Result<(Filter, Report), FilterError> {
    let default_action = action(spec.default_action, spec.default_errno_ret)?;
    let mut report = Report {
        skipped: overshadowed(spec, default_action)?,
    };
    if let Some(name) = &spec.base_profile_name {
        report
            .skipped
            .insert(Skipped::BaseProfile { name: name.clone() });
    }
    let mut builder = Builder {
        native: context(default_action, spec, &mut report)?,
        foreign: context(default_action, spec, &mut report)?,
        native_arch: native_arch(),
        foreign_architectures: Vec::new(),
        default_action,
        rules: 0,
        foreign_rules: 0,
        report,
    };
    builder.architectures(&spec.architectures)?;
    for rule in &spec.syscalls {
        builder.rule(rule)?;
    }
    builder.finish()
}

impl Filter {
    /// Loads the filter into the calling thread; with [`Flag::Tsync`] into the whole process.
    ///
    /// Privileges stay reachable for the program (`no_new_privs` is off) where the kernel allows
    /// that, which takes `CAP_SYS_ADMIN`; a container runtime decides that apart from the filter.
    pub fn load(mut self) -> Result<(), FilterError> {
        // Without this a refusal of the kernel's is told as "cancelled", whatever the reason.
        self.context
            .set_api_sysrawrc(true)
            .map_err(FilterError::SetUp)?;
        self.context
            .set_ctl_nnp(false)
            .map_err(FilterError::SetUp)?;
        keep_freed_memory();
        match self.context.load() {
            Err(error) if error.errno() == Some(SeccompErrno::EACCES) => {
                self.context.set_ctl_nnp(true).map_err(FilterError::SetUp)?;
                self.context.load().map_err(FilterError::Load)
            }
            result => result.map_err(FilterError::Load),
        }
    }

    /// Writes the program as the kernel takes it: instructions of eight bytes.
    pub fn write_program(&self, to: impl AsFd) -> Result<(), FilterError> {
        self.context.export_bpf(to).map_err(FilterError::SetUp)
    }
}

/// libseccomp numbers a call by its name on the machine's own architecture, and finds the
/// numbers of the others by that name. For a call that it does not know this works on the own
/// architecture only. So there are two filters to the end: one for the own architecture, and one
/// for all others, which are not told of such calls.
struct Builder {
    native: ScmpFilterContext,
    foreign: ScmpFilterContext,
    native_arch: Option<Arch>,
    foreign_architectures: Vec<Architecture>,
    default_action: ScmpAction,
    rules: usize,
    foreign_rules: usize,
    report: Report,
}

impl Builder {
    fn architectures(&mut self, architectures: &[Architecture]) -> Result<(), FilterError> {
        let own = |architecture: &Architecture| {
            *architecture == Architecture::Native
                || scmp_arch(*architecture) == Some(ScmpArch::native())
        };
        if !architectures.is_empty() && !architectures.iter().any(own) {
            self.report.skipped.insert(Skipped::NativeAdded);
        }
        for architecture in architectures
            .iter()
            .filter(|architecture| !own(architecture))
        {
            let added = match scmp_arch(*architecture) {
                Some(arch) => self
                    .foreign
                    .add_arch(arch)
                    .map(|_| ())
                    .map_err(|error| error.to_string()),
                None => Err("libseccomp does not know it".to_owned()),
            };
            match added {
                Ok(()) => self.foreign_architectures.push(*architecture),
                Err(reason) => {
                    let architecture = *architecture;
                    self.report.skipped.insert(Skipped::Architecture {
                        architecture,
                        reason,
                    });
                }
            }
        }
        if !self.foreign_architectures.is_empty() {
            self.foreign
                .remove_arch(ScmpArch::Native)
                .map_err(FilterError::SetUp)?;
        }
        Ok(())
    }

    fn rule(&mut self, rule: &SyscallRule) -> Result<(), FilterError> {
        let SyscallRule {
            names,
            action: profile_action,
            errno_ret,
            args,
        } = rule;
        let action = action(*profile_action, *errno_ret)?;
        // libseccomp refuses such a rule, and it would change nothing.
        if action == self.default_action {
            return Ok(());
        }
        for name in names {
            let Some((syscall, everywhere)) = self.resolve(name) else {
                continue;
            };
            let foreign = everywhere && !self.foreign_architectures.is_empty();
            for conditions in condition_sets(args) {
                let native = self
                    .native
                    .add_rule_conditional(action, syscall, &conditions);
                self.rules += 1;
                let mut results = vec![native.map(drop)];
                if foreign {
                    let foreign = self
                        .foreign
                        .add_rule_conditional(action, syscall, &conditions);
                    self.foreign_rules += 1;
                    results.push(foreign.map(drop));
                }
                for error in results.into_iter().filter_map(Result::err) {
                    let (syscall, action) = (name.clone(), *profile_action);
                    if error.errno() != Some(SeccompErrno::EEXIST) {
                        return Err(FilterError::Rule {
                            action,
                            syscall,
                            source: error,
                        });
                    }
                    self.report
                        .skipped
                        .insert(Skipped::Overshadowed { syscall, action });
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(Filter, Report), FilterError> {
        let Self {
            mut native,
            mut foreign,
            rules,
            foreign_rules,
            report,
            ..
        } = self;
        let has_foreign = !self.foreign_architectures.is_empty();
        // libseccomp up to 2.5.4 makes wrong filters by halves for an architecture without rules.
        if rules > MANY_RULES && (foreign_rules > 0 || !has_foreign) {
            native.set_ctl_optimize(2).map_err(FilterError::SetUp)?;
            foreign.set_ctl_optimize(2).map_err(FilterError::SetUp)?;
        }
        if has_foreign {
            native.merge(foreign).map_err(FilterError::SetUp)?;
        }
        Ok((Filter { context: native }, report))
    }

    /// The call's number, and whether libseccomp can find it on other architectures.
    fn resolve(&mut self, name: &str) -> Option<(ScmpSyscall, bool)> {
        if let Ok(syscall) = ScmpSyscall::from_name(name) {
            return Some((syscall, true));
        }
        let syscall = name.to_owned();
        if !syscalls::known(name) {
            self.report.skipped.insert(Skipped::Unknown { syscall });
            return None;
        }
        for architecture in &self.foreign_architectures {
            // On an architecture that lacks the call, or whose table we lack, nothing is lost
            // that we know of.
            if architecture
                .arch()
                .is_some_and(|arch| syscalls::number(arch, name).is_some())
            {
                let (syscall, architecture) = (name.to_owned(), *architecture);
                self.report.skipped.insert(Skipped::Newer {
                    syscall,
                    architecture,
                });
            }
        }
        let number = self
            .native_arch
            .and_then(|arch| syscalls::number(arch, name));
        let number = number.and_then(|number| i32::try_from(number).ok());
        if number.is_none() {
            self.report.skipped.insert(Skipped::Elsewhere { syscall });
        }
        number.map(|number| (ScmpSyscall::from_raw_syscall(number), false))
    }
}

/// An empty filter for the machine's own architecture.
fn context(
    default_action: ScmpAction,
    spec: &SeccompSpec,
    report: &mut Report,
) -> Result<ScmpFilterContext, FilterError> {
    let mut context = ScmpFilterContext::new(default_action).map_err(FilterError::SetUp)?;
    for flag in &spec.flags {
        let set = match flag {
            Flag::Tsync => context.set_ctl_tsync(true),
            Flag::Log => context.set_ctl_log(true),
            Flag::SpecAllow => context.set_ctl_ssb(true),
            Flag::WaitKillableRecv => context.set_ctl_waitkill(true),
        };
        if let Err(error) = set {
            let reason = error.to_string();
            report.skipped.insert(Skipped::Flag {
                flag: *flag,
                reason,
            });
        }
    }
    Ok(context)
}

/// The rules that never count because of others for the same calls.
///
/// With libseccomp a rule without conditions wins over all others for its call, and of several
/// such the first. A rule that says what the default says is not made at all, so that it is no
/// exception from others.
fn overshadowed(
    spec: &SeccompSpec,
    default_action: ScmpAction,
) -> Result<BTreeSet<Skipped>, FilterError> {
    let mut rules = BTreeMap::<_, Vec<_>>::new();
    for rule in &spec.syscalls {
        let action = action(rule.action, rule.errno_ret)?;
        for name in &rule.names {
            rules
                .entry(name)
                .or_default()
                .push((action, rule.action, rule.args.is_empty()));
        }
    }
    let mut overshadowed = BTreeSet::new();
    for (name, rules) in rules {
        let made = || {
            rules
                .iter()
                .filter(|(action, ..)| *action != default_action)
        };
        let winner = made().find(|(.., unconditional)| *unconditional);
        for (action, profile_action, unconditional) in &rules {
            let loses = match winner {
                Some((winner, ..)) => action != winner,
                None => *action == default_action && !unconditional && made().next().is_some(),
            };
            if loses {
                let (syscall, action) = (name.clone(), *profile_action);
                overshadowed.insert(Skipped::Overshadowed { syscall, action });
            }
        }
    }
    Ok(overshadowed)
}

fn action(action: Action, errno_ret: Option<u32>) -> Result<ScmpAction, FilterError> {
    // Both default to EPERM in runc and crun.
    let value = errno_ret.unwrap_or(libc::EPERM.unsigned_abs());
    Ok(match action {
        Action::Kill | Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
        Action::Trap => ScmpAction::Trap,
        Action::Errno if value > LARGEST_ERRNO => return Err(FilterError::ErrnoValue { value }),
        Action::Errno => ScmpAction::Errno(value.cast_signed()),
        Action::Trace => {
            let too_large = |_| FilterError::TraceValue { value };
            ScmpAction::Trace(u16::try_from(value).map_err(too_large)?)
        }
        Action::Allow => ScmpAction::Allow,
        Action::Log => ScmpAction::Log,
        Action::Notify => return Err(FilterError::Notify),
    })
}

/// The conditions of a rule, one set for each rule that libseccomp is to have.
///
/// All conditions of a set must hold. libseccomp takes one condition on each argument; where a
/// profile has more, every condition becomes a rule of its own, so that any of them is enough
/// (`matchCall` in runc).
fn condition_sets(args: &[SyscallArg]) -> Vec<Vec<ScmpArgCompare>> {
    let conditions = args.iter().map(condition);
    let indices: BTreeSet<_> = args.iter().map(|arg| arg.index).collect();
    if indices.len() < args.len() {
        return conditions.map(|condition| vec![condition]).collect();
    }
    vec![conditions.collect()]
}

fn condition(arg: &SyscallArg) -> ScmpArgCompare {
    let SyscallArg {
        index,
        value,
        value_two,
        op,
    } = *arg;
    let (op, datum) = match op {
        Operator::NotEqual => (ScmpCompareOp::NotEqual, value),
        Operator::Less => (ScmpCompareOp::Less, value),
        Operator::LessOrEqual => (ScmpCompareOp::LessOrEqual, value),
        Operator::Equal => (ScmpCompareOp::Equal, value),
        Operator::GreaterOrEqual => (ScmpCompareOp::GreaterEqual, value),
        Operator::Greater => (ScmpCompareOp::Greater, value),
        Operator::MaskedEqual => (ScmpCompareOp::MaskedEqual(value), value_two),
    };
    ScmpArgCompare::new(index, op, datum)
}

/// Makes the allocator keep what is freed from here on.
///
/// libseccomp frees its program after the filter is in force, and the allocator would give the
/// memory back with a call that the filter may kill the thread for. glibc gives back only what is
/// more than twice the largest mapped block that was ever freed (`M_MMAP_THRESHOLD` in
/// mallopt(3)), so that freeing one large block is enough.
fn keep_freed_memory() {
    drop(black_box(Vec::<u8>::with_capacity(16 << 20)));
}

fn scmp_arch(architecture: Architecture) -> Option<ScmpArch> {
    architecture.name().parse().ok()
}

fn native_arch() -> Option<Arch> {
    Arch::ALL
        .into_iter()
        .find(|arch| scmp_arch((*arch).into()) == Some(ScmpArch::native()))
}
