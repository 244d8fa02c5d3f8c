//! What a profile's author would want to know, although the profile is valid.

use std::collections::BTreeSet;

use super::places::Places;
use super::verdict::{Calls, Verdict};
use super::{Action, SeccompSpec};
use crate::profile::arch::Arch;
use crate::profile::diagnostic::quoted;
use crate::profile::fields::Problems;
use crate::profile::lint::Rule;
use crate::profile::risk;
use crate::profile::syscalls;
use crate::profile::tree::Place;

/// The findings of this kind of profile. `unknown-syscall` is told whenever a file is read, the
/// others only when asked for.
pub const LINTS: &[Rule] = &[
    rule(
        "allows-risky",
        "the call gives power over other processes or the kernel",
    ),
    rule("errno-enosys", "libc falls back on ENOSYS only"),
    rule(
        "io-uring-bypass",
        "io_uring does what the profile denies, and no filter sees it",
    ),
    rule(
        "libc-drift",
        "newer builds of libc make the newer call instead",
    ),
    rule("missing-exit-group", "without it no process can end"),
    rule("missing-futex", "nearly every program waits with it"),
    rule(
        "unknown-syscall",
        "runtimes ignore names that they do not know",
    ),
    rule("unreachable-rule", "the rule changes nothing"),
    rule(
        "unused-architecture",
        "a 32-bit program would need calls that are not allowed",
    ),
];

const fn rule(id: &'static str, reason: &'static str) -> Rule {
    Rule { id, reason }
}

/// Of the risky calls, those that no ordinary container needs.
const DANGEROUS: &[&str] = &[
    "bpf",
    "create_module",
    "delete_module",
    "finit_module",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "open_by_handle_at",
    "perf_event_open",
    "process_vm_writev",
    "ptrace",
    "reboot",
    "userfaultfd",
];
/// Calls, and what newer builds of libc make instead.
const NEWER: &[(&str, &str)] = &[
    ("access", "faccessat"),
    ("clone", "clone3"),
    ("dup2", "dup3"),
    ("epoll_wait", "epoll_pwait"),
    ("lstat", "newfstatat"),
    ("open", "openat"),
    ("pipe", "pipe2"),
    ("poll", "ppoll"),
    ("readlink", "readlinkat"),
    ("select", "pselect6"),
    ("stat", "newfstatat"),
    ("unlink", "unlinkat"),
];
/// Calls that libc tries first, and does without where the kernel has none.
const TRIED: &[&str] = &[
    "clone3",
    "close_range",
    "faccessat2",
    "fchmodat2",
    "openat2",
    "statx",
];
/// What a profile denies to keep a program off the network, and `io_uring` does as well.
const NETWORK: &[&str] = &[
    "accept", "accept4", "bind", "connect", "listen", "sendmsg", "socket",
];

/// Finds everything in a profile that was read without an error.
pub(super) fn lint(spec: &SeccompSpec, places: &Places, problems: &mut Problems<'_>) {
    let calls = Calls::of(spec);
    let at = Lint {
        spec,
        calls,
        places,
    };
    // A base may allow what the profile itself does not.
    if at.calls.default.is_denial() && spec.base_profile_name.is_none() {
        at.missing("missing-exit-group", "exit_group", problems);
        at.missing("missing-futex", "futex", problems);
        at.drift(problems);
        at.enosys(problems);
    }
    at.risky(problems);
    at.io_uring(problems);
    at.architectures(problems);
    at.unreachable(problems);
}

struct Lint<'a> {
    spec: &'a SeccompSpec,
    calls: Calls<'a>,
    places: &'a Places,
}

impl Lint<'_> {
    fn missing(&self, id: &'static str, name: &str, problems: &mut Problems<'_>) {
        if !self.is_let_through(name) {
            let message = format!("`{name}` is not allowed");
            let help = "add it to the rule with `SCMP_ACT_ALLOW`";
            problems.lint(
                id,
                self.places.default_action,
                message,
                Some(help.to_owned()),
            );
        }
    }

    fn drift(&self, problems: &mut Problems<'_>) {
        for (old, new) in NEWER {
            if self.is_let_through(old) && self.breaks(new) {
                let message = format!("`{old}` is allowed without `{new}`");
                let help = format!("allow `{new}`, or let it fail with ENOSYS (`errnoRet: 38`)");
                problems.lint("libc-drift", self.place_of(old), message, Some(help));
            }
        }
    }

    fn enosys(&self, problems: &mut Problems<'_>) {
        let default = self.calls.default;
        if default.action != Action::Errno {
            return;
        }
        let unnamed = |name: &&&str| self.calls.named(name).is_none() && self.breaks(name);
        let names: Vec<_> = TRIED
            .iter()
            .filter(unnamed)
            .map(|name| format!("`{name}`"))
            .collect();
        if names.is_empty() {
            return;
        }
        let message = format!(
            "calls that libc can do without do not fail with ENOSYS: {}",
            names.join(", ")
        );
        let help = "add a rule for them with `SCMP_ACT_ERRNO` and `errnoRet: 38`";
        let place = self.places.default_action;
        problems.lint("errno-enosys", place, message, Some(help.to_owned()));
    }

    fn risky(&self, problems: &mut Problems<'_>) {
        let help = "remove it, unless the program is made for this";
        let reason = |name: &str| risk::reason(name).unwrap_or("is dangerous");
        let mut by_default = Vec::new();
        for name in DANGEROUS {
            let Some(call) = self.calls.named(name) else {
                by_default.push(format!("`{name}`"));
                continue;
            };
            if call.most().is_some_and(lets_through) {
                let message = format!("`{name}` is allowed: it {}", reason(name));
                problems.lint(
                    "allows-risky",
                    self.place_of(name),
                    message,
                    Some(help.to_owned()),
                );
            }
        }
        // Profiles that log are made to find out.
        if self.calls.default.action == Action::Allow && !by_default.is_empty() {
            let message = format!("the default action allows {}", by_default.join(", "));
            let help = "add a rule that denies them";
            let place = self.places.default_action;
            problems.lint("allows-risky", place, message, Some(help.to_owned()));
        }
    }

    fn io_uring(&self, problems: &mut Problems<'_>) {
        if !self.is_let_through("io_uring_setup") || !self.is_let_through("io_uring_enter") {
            return;
        }
        let filtered = |name: &&&str| {
            let call = self.calls.get(name);
            !call.branches.is_empty() || !call.most().is_some_and(lets_through)
        };
        let names: Vec<_> = NETWORK
            .iter()
            .filter(filtered)
            .map(|name| format!("`{name}`"))
            .collect();
        if names.is_empty() {
            return;
        }
        let message = format!("io_uring is allowed, and does without {}", names.join(", "));
        let help = "deny `io_uring_setup`";
        let place = self.place_of("io_uring_setup");
        problems.lint("io-uring-bypass", place, message, Some(help.to_owned()));
    }

    fn architectures(&self, problems: &mut Problems<'_>) {
        if !self.calls.default.is_denial() || self.spec.base_profile_name.is_some() {
            return;
        }
        for (architecture, place) in self
            .spec
            .architectures
            .iter()
            .zip(&self.places.architectures)
        {
            // x32 has hardly a call of its own.
            let Some((arch, wide)) = architecture.arch().and_then(|arch| match arch {
                Arch::X86 => Some((arch, Arch::X86_64)),
                Arch::Arm => Some((arch, Arch::Aarch64)),
                _ => None,
            }) else {
                continue;
            };
            let own = |name: &str| {
                syscalls::number(arch, name).is_some() && syscalls::number(wide, name).is_none()
            };
            let uses = self
                .calls
                .names()
                .any(|name| own(name) && self.is_let_through(name));
            if !uses {
                let message = format!(
                    "{architecture} is listed, but no call that only 32-bit programs make is allowed"
                );
                let help = format!(
                    "remove it, if only {wide} programs run; else allow their calls, such as `mmap2`"
                );
                problems.lint("unused-architecture", *place, message, Some(help));
            }
        }
    }

    fn unreachable(&self, problems: &mut Problems<'_>) {
        let default = self.calls.default;
        let mut winners = BTreeSet::new();
        for (rule, places) in self.spec.syscalls.iter().zip(&self.places.rules) {
            let verdict = Verdict::new(rule.action, rule.errno_ret);
            if verdict == default {
                let message = format!("the rule says what the default action says, {default}");
                let help = "remove it; it is no exception from other rules either";
                problems.lint(
                    "unreachable-rule",
                    places.rule,
                    message,
                    Some(help.to_owned()),
                );
                continue;
            }
            let never = |name: &&String| {
                let call = self.calls.named(name);
                if call.is_some_and(|call| !call.branches.is_empty()) {
                    return false;
                }
                // Of all rules without conditions, the first wins.
                !rule.args.is_empty() || !winners.insert((*name).clone())
            };
            let names: Vec<_> = rule.names.iter().filter(never).collect();
            for name in names {
                let message = format!("another rule for {} always wins", quoted(name));
                let help =
                    "a rule without conditions wins over all others, and of several the first";
                let place = places.name(name).unwrap_or(places.rule);
                problems.lint("unreachable-rule", place, message, Some(help.to_owned()));
            }
        }
    }

    /// Where a call is let through.
    fn place_of(&self, name: &str) -> Place {
        let rules = &self.spec.syscalls;
        let lets = |number: usize| {
            rules
                .get(number)
                .is_some_and(|rule| lets_through(Verdict::new(rule.action, None)))
        };
        self.places
            .name(name, lets)
            .unwrap_or(self.places.default_action)
    }

    /// Whether the call is let through at least for some arguments.
    fn is_let_through(&self, name: &str) -> bool {
        self.calls.get(name).most().is_some_and(lets_through)
    }

    /// Whether the call never works, and does not say that the kernel has none.
    fn breaks(&self, name: &str) -> bool {
        const ENOSYS: u32 = 38;
        let most = self.calls.get(name).most();
        most.is_some_and(|verdict| verdict.is_denial() && verdict.errno != Some(ENOSYS))
    }
}

fn lets_through(verdict: Verdict) -> bool {
    matches!(verdict.action, Action::Allow | Action::Log)
}
