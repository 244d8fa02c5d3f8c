//! What a filter leaves out of its profile.

use std::collections::BTreeSet;
use std::fmt;

use crate::profile::seccomp::{Action, Architecture, Flag};

/// What a filter leaves out of its profile, to be told to people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each of them, once.
    pub skipped: BTreeSet<Skipped>,
}

/// One thing that a filter leaves out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skipped {
    /// Another profile that this one builds upon.
    BaseProfile {
        /// Its name.
        name: String,
    },
    /// A call that nobody knows.
    Unknown {
        /// The name.
        syscall: String,
    },
    /// A call that this machine does not have, and that libseccomp is too old to know.
    Elsewhere {
        /// The name.
        syscall: String,
    },
    /// A call that the installed libseccomp is too old to know. For the machine's own
    /// architecture its number is ours; for others there is no way to say it.
    Newer {
        /// The name.
        syscall: String,
        /// The architecture that lacks the rule.
        architecture: Architecture,
    },
    /// A rule that another one for the same call keeps from ever counting.
    Overshadowed {
        /// The call.
        syscall: String,
        /// What the rule says.
        action: Action,
    },
    /// An architecture that libseccomp does not take.
    Architecture {
        /// Which.
        architecture: Architecture,
        /// Why not.
        reason: String,
    },
    /// The machine's own architecture is not in the list, and is in the filter all the same, as
    /// runtimes have it: without it the filter would kill the program at its first call.
    NativeAdded,
    /// A flag that libseccomp or the kernel does not know.
    Flag {
        /// Which.
        flag: Flag,
        /// Why not.
        reason: String,
    },
}

impl fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BaseProfile { name } => {
                write!(formatter, "the base profile {name:?} is not taken in")
            }
            Self::Unknown { syscall } => {
                write!(formatter, "unknown syscall {syscall:?}: its rules are left out")
            }
            Self::Elsewhere { syscall } => {
                write!(formatter, "this machine has no syscall {syscall}: its rules are left out")
            }
            Self::Newer { syscall, architecture } => write!(
                formatter,
                "libseccomp does not know {syscall} yet: its rules are left out for {architecture}"
            ),
            Self::Overshadowed { syscall, action } => {
                write!(formatter, "the rule {action} for {syscall} never counts: another rule wins")
            }
            Self::Architecture { architecture, reason } => {
                write!(formatter, "{architecture} is left out: {reason}")
            }
            Self::NativeAdded => formatter.write_str(
                "the machine's own architecture is not in the profile, and is taken in as runtimes do",
            ),
            Self::Flag { flag, reason } => write!(formatter, "{flag} is left out: {reason}"),
        }
    }
}
