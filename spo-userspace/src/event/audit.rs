//! What records of the kernel's audit tell.

use super::{Call, Comm};

/// What a record tells of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Audited {
    /// A seccomp filter answered.
    Seccomp(Verdict),
    /// SELinux was asked.
    Selinux(Avc),
    /// AppArmor was.
    AppArmor(AppArmorRecord),
}

impl Audited {
    /// Which record; not every log tells.
    pub fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Seccomp(verdict) => verdict.stamp,
            Self::Selinux(avc) => avc.stamp,
            Self::AppArmor(record) => record.stamp,
        }
    }

    /// Thread group id of the process in the initial pid namespace.
    pub fn tgid(&self) -> u32 {
        match self {
            Self::Seccomp(verdict) => verdict.tgid,
            Self::Selinux(avc) => avc.process.tgid,
            Self::AppArmor(record) => record.process.tgid,
        }
    }
}

/// What a seccomp filter decided of a call, as a record of the kernel's audit tells. Records are made
/// only for what a filter wants logged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Which record; not every log tells.
    pub stamp: Option<Stamp>,
    /// The call.
    pub call: Call,
    /// What the filter answered (`SECCOMP_RET_*`, with its data).
    pub code: u32,
    /// The signal that the task got, or 0.
    pub signal: u32,
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Name of the task.
    pub comm: Comm,
    /// The path of the program, from the root of the task's file system. Any bytes.
    pub exe: Option<Vec<u8>>,
}

/// Which audit record. All records of one event have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The number of the event since the kernel started, up to 2^32.
    pub serial: u32,
}

/// Whom a record of a security module is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Name of the task.
    pub comm: Comm,
    /// The path of the program, where a record of the same event tells it (type `SYSCALL`). Any bytes.
    pub exe: Option<Vec<u8>>,
}

/// What else stands in a record: a key of the kernel's, and any bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Detail {
    /// Its name.
    pub key: String,
    /// What it says.
    pub value: Vec<u8>,
    /// Whether it stood in quotes, or in digits because it could not.
    pub quoted: bool,
}

/// What SELinux answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AvcAnswer {
    /// It was refused.
    Denied,
    /// It would have been, but for permissive mode, of the domain or of all.
    Permitted,
    /// It was allowed, and the policy wants that told (`auditallow`).
    Granted,
}

/// What SELinux said of an access (`avc_audit_pre_callback` in `security/selinux/avc.c`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Avc {
    /// Which record; not every log tells.
    pub stamp: Option<Stamp>,
    /// The answer.
    pub answer: AvcAnswer,
    /// What was asked for, of the class.
    pub permissions: Vec<String>,
    /// Who.
    pub process: Process,
    /// Whether a program asked, and told of it (`USER_AVC`: systemd, dbus-daemon), of a subject that may be
    /// another process. Then `process` is that program, as the kernel says; the rest is what it claims.
    pub told: bool,
    /// The context of the subject, of the object, and the class of the object.
    pub scontext: String,
    /// See `scontext`.
    pub tcontext: String,
    /// See `scontext`.
    pub tclass: String,
    /// The object, and what else was said.
    pub details: Vec<Detail>,
}

/// What AppArmor answered (`aa_audit_msg` in `security/apparmor/audit.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppArmorAnswer {
    /// It was refused, and the task killed for it if the profile says so (`KILLED`).
    Denied {
        /// The task was killed.
        killed: bool,
    },
    /// It would have been, but for complain mode.
    Allowed,
    /// It was allowed, and the profile wants that told.
    Audit,
    /// What happened to profiles, and to the module: `STATUS`, `ERROR`, `HINT`.
    Other,
}

/// A record of AppArmor's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppArmorRecord {
    /// Which record; not every log tells.
    pub stamp: Option<Stamp>,
    /// The answer.
    pub answer: AppArmorAnswer,
    /// The kernel's word for it: `DENIED`, `ALLOWED`, ...
    pub word: String,
    /// What was to be done: `open`, `capable`, `mount`, ...
    pub operation: String,
    /// The profile, as somebody named it.
    pub profile: Vec<u8>,
    /// What it was to be done to, where that has a name. Any bytes.
    pub name: Option<Vec<u8>>,
    /// Who.
    pub process: Process,
    /// Whether a program told of it, such as dbus-daemon. Then `process` is that program, as the kernel says;
    /// the rest is what it claims.
    pub told: bool,
    /// What else was said.
    pub details: Vec<Detail>,
}
