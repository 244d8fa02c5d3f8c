//! The capabilities that a container used, as the evidence of its profile tells them.

use std::collections::BTreeSet;

use crate::event::Checks;

/// Their annotation, without the prefix that all evidence has.
pub const CAPABILITIES: &str = "capabilities";
/// The annotation with what is to be said of them.
pub const UNSURE: &str = "capabilities-unsure";

const NONE: &str = "none";
const UNKNOWN: &str = "unknown";
const BETWEEN: &str = ", ";

/// By their numbers (`include/uapi/linux/capability.h`).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What is known of the capabilities that something used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// As bits by their numbers.
    used: u64,
    /// How far that was seen.
    checks: BTreeSet<Checks>,
}

impl Capabilities {
    /// Adds what somebody used.
    pub fn add(&mut self, used: u64, checks: &Checks) {
        self.used |= used;
        self.checks.insert(checks.clone());
    }

    /// The names, `none`, or `unknown`, which may also be one among names.
    pub fn names(&self) -> String {
        let numbers = (0..u64::BITS).filter(|number| self.used >> number & 1 == 1);
        let names = numbers.map(|number| {
            let name = NAMES.get(number as usize);
            name.map_or_else(|| format!("CAP_{number}"), |name| (*name).to_owned())
        });
        let mut names: BTreeSet<_> = names.collect();
        let is_untold = |checks: &Checks| matches!(checks, Checks::Untold(_));
        if self.checks.is_empty() || self.checks.iter().any(is_untold) {
            names.insert(UNKNOWN.to_owned());
        }
        joined(names)
    }

    /// Why there may be others, or fewer.
    pub fn unsure(&self, skipped: u64) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.checks.is_empty() {
            reasons.push("nobody has looked".to_owned());
        }
        for checks in &self.checks {
            match checks {
                Checks::Used => {}
                Checks::Asked => reasons.push(
                    "the kernel does not tell those that are used from those that are only asked for: CAP_SYS_ADMIN, \
                     for which it asks whenever memory is mapped, and CAP_SYS_PTRACE may not be needed"
                        .to_owned(),
                ),
                Checks::Untold(reason) => reasons.push(reason.clone()),
            }
        }
        if skipped > 0 {
            reasons.push(format!(
                "there may be more: {skipped} checks on its node went unseen meanwhile"
            ));
        }
        reasons
    }
}

/// All that any of several used, by what is said of each; of one of which nothing is said, it is unknown.
pub fn merged<'v>(values: impl Iterator<Item = Option<&'v str>>) -> String {
    let words = values.flat_map(|value| value.unwrap_or(UNKNOWN).split(BETWEEN));
    let names = words.filter(|word| *word != NONE).map(|word| {
        let number = word
            .strip_prefix("CAP_")
            .and_then(|rest| rest.parse::<u32>().ok());
        let is_name = NAMES.contains(&word) || number.is_some_and(|number| number < u64::BITS);
        if is_name { word } else { UNKNOWN }.to_owned()
    });
    joined(names.collect())
}

fn joined(names: BTreeSet<String>) -> String {
    if names.is_empty() {
        return NONE.to_owned();
    }
    names.into_iter().collect::<Vec<_>>().join(BETWEEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untold() -> Checks {
        Checks::Untold("no hook".to_owned())
    }

    fn names(all: &[(u64, Checks)]) -> String {
        let mut capabilities = Capabilities::default();
        for (used, checks) in all {
            capabilities.add(*used, checks);
        }
        capabilities.names()
    }

    #[test]
    fn an_empty_list_means_that_it_was_looked() {
        assert_eq!(names(&[]), "unknown");
        assert_eq!(names(&[(0, untold())]), "unknown");
        assert_eq!(names(&[(0, Checks::Used)]), "none");
        assert_eq!(
            names(&[(1, Checks::Used), (0, untold())]),
            "CAP_CHOWN, unknown"
        );
        let all = [
            (1 << 40 | 1 << 63, Checks::Used),
            (1 << 12 | 1 << 21, Checks::Asked),
        ];
        assert_eq!(
            names(&all),
            "CAP_63, CAP_CHECKPOINT_RESTORE, CAP_NET_ADMIN, CAP_SYS_ADMIN"
        );
    }

    #[test]
    fn what_is_not_sure_is_said() {
        let unsure = |checks: &Checks, skipped| {
            let mut capabilities = Capabilities::default();
            capabilities.add(1, checks);
            capabilities.unsure(skipped)
        };
        assert!(!Capabilities::default().unsure(0).is_empty());
        assert!(unsure(&Checks::Used, 0).is_empty());
        assert!(unsure(&Checks::Used, 3)[0].contains("3 checks"));
        assert!(unsure(&Checks::Asked, 0)[0].contains("only asked for"));
        assert_eq!(unsure(&untold(), 0), ["no hook"]);
        // They are joined, and taken apart again.
        assert!(!unsure(&Checks::Asked, 1).concat().contains(';'));
    }

    #[test]
    fn those_of_several() {
        let check = |values: &[Option<&str>]| merged(values.iter().copied());
        assert_eq!(
            check(&[Some("CAP_KILL, CAP_CHOWN"), Some("none")]),
            "CAP_CHOWN, CAP_KILL"
        );
        assert_eq!(check(&[Some("none"), Some("none")]), "none");
        assert_eq!(check(&[Some("CAP_41"), None]), "CAP_41, unknown");
        assert_eq!(
            check(&[Some("CAP_64, a lie, CAP_KILL")]),
            "CAP_KILL, unknown"
        );
    }
}
