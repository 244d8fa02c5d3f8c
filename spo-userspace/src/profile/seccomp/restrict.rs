//! What a cluster lets its profiles say.

use std::collections::BTreeSet;

use super::{Action, SeccompSpec};
use crate::profile::diagnostic::quoted;

/// The actions that let a call through, or ask somebody who may.
const LET_THROUGH: [Action; 4] = [Action::Allow, Action::Log, Action::Trace, Action::Notify];
/// How many names a message has.
const MOST_NAMES: usize = 10;

/// The only calls that profiles may let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// The calls; with none, there is no restriction at all.
    pub allowed_syscalls: BTreeSet<String>,
    /// The actions that this is for; with none, those that let a call through.
    pub actions: Vec<Action>,
}

impl Restrictions {
    /// Why a profile, with the rules of its bases, is not allowed; empty if it is.
    pub fn violations(&self, spec: &SeccompSpec) -> Vec<String> {
        let Self {
            allowed_syscalls,
            actions,
        } = self;
        if allowed_syscalls.is_empty() {
            return Vec::new();
        }
        let actions = if actions.is_empty() {
            LET_THROUGH.as_slice()
        } else {
            actions
        };
        let mut violations = Vec::new();
        for action in actions {
            if !LET_THROUGH.contains(action) {
                violations.push(format!(
                    "the cluster's allowedSeccompActions has {action}, which lets no call through: an administrator must take it out"
                ));
                continue;
            }
            if spec.default_action == *action {
                violations.push(format!(
                    "the default action {action} is for all system calls, and the cluster's allowedSyscalls has only some"
                ));
            }
            let rules = spec.syscalls.iter().filter(|rule| rule.action == *action);
            let names: BTreeSet<_> = rules.flat_map(|rule| &rule.names).collect();
            let others: Vec<_> = names
                .into_iter()
                .filter(|name| !allowed_syscalls.contains(*name))
                .collect();
            if !others.is_empty() {
                violations.push(format!(
                    "{action} is for system calls that the cluster's allowedSyscalls does not have: {}",
                    listed(&others)
                ));
            }
        }
        violations
    }
}

fn listed(names: &[&String]) -> String {
    let shown: Vec<_> = names.iter().take(MOST_NAMES).map(|it| quoted(it)).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::seccomp::SyscallRule;

    fn spec(default: Action, rules: &[(Action, &[&str])]) -> SeccompSpec {
        let mut spec = SeccompSpec::new(default);
        spec.syscalls = rules
            .iter()
            .map(|(action, names)| SyscallRule {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                action: *action,
                errno_ret: None,
                args: Vec::new(),
            })
            .collect();
        spec
    }

    fn restrictions(names: &[&str], actions: &[Action]) -> Restrictions {
        Restrictions {
            allowed_syscalls: names.iter().map(|name| (*name).to_owned()).collect(),
            actions: actions.to_vec(),
        }
    }

    #[test]
    fn without_a_list_everything_is_allowed() {
        let open = restrictions(&[], &[Action::Errno]);
        let spec = spec(Action::Allow, &[]);
        assert!(open.violations(&spec).is_empty());
    }

    #[test]
    fn only_listed_calls_are_let_through() {
        let some = restrictions(&["read", "write"], &[]);
        let errno = Action::Errno;
        let fine = spec(errno, &[(Action::Allow, &["read"]), (errno, &["mount"])]);
        assert!(some.violations(&fine).is_empty());
        for action in LET_THROUGH {
            let other = spec(errno, &[(action, &["read", "mount"])]);
            let violations = some.violations(&other);
            assert_eq!(violations.len(), 1, "{violations:?}");
            assert!(violations[0].contains("`mount`") && !violations[0].contains("`read`"));
            assert_eq!(some.violations(&spec(action, &[])).len(), 1, "{action}");
        }
    }

    #[test]
    fn only_named_actions_are_looked_at_and_others_are_told() {
        let log = restrictions(&["read"], &[Action::Log]);
        let allow = spec(Action::Allow, &[(Action::Allow, &["mount"])]);
        assert!(log.violations(&allow).is_empty());
        let wrong = restrictions(&["read"], &[Action::Kill]);
        assert!(wrong.violations(&allow)[0].contains("SCMP_ACT_KILL"));
    }

    #[test]
    fn long_lists_are_short() {
        let names: Vec<_> = (0..500).map(|number| format!("call{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let violations = restrictions(&["read"], &[])
            .violations(&spec(Action::Errno, &[(Action::Allow, &names)]));
        assert!(violations[0].ends_with("and 490 more"), "{violations:?}");
    }
}
