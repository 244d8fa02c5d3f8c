//! Records in the forms in which they get to us.
//!
//! | from | form |
//! |---|---|
//! | netlink | a header with the type, and `audit(TIME:SERIAL): FIELDS` |
//! | the kernel's own log | `audit: type=1326 audit(TIME:SERIAL): FIELDS` |
//! | a syslog daemon that writes that down | `Nov 28 03:34:30 HOST kernel: [17498.252614] audit: type=1326 audit(...` |
//! | auditd | `type=SECCOMP msg=audit(TIME:SERIAL): FIELDS`, perhaps with `node=NAME` in front, and with more behind a group separator |
//! | auditd's plugin for syslog | `Nov 28 03:34:30 HOST audisp-syslog[1]: type=SECCOMP msg=audit(...` |
//! | journald, which reads netlink itself | `Nov 28 03:34:30 HOST audit[PID]: SECCOMP FIELDS` |
//!
//! Types are numbers (`include/uapi/linux/audit.h`), or names, which older programs do not know all.

use super::module;
use super::seccomp::verdict;
use crate::event::{AppArmorRecord, Avc, Process, Stamp, Verdict};

/// Room for `struct nlmsghdr`.
const HEADER: usize = 16;
/// What auditd puts before what it adds to a record.
const ENRICHED: u8 = 0x1d;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<'l> {
    /// A record of the kernel's.
    Record(Record<'l>),
    /// The kernel had more records than it could keep, and says so at most once a second.
    Dropped,
    /// Nothing about audit.
    Other,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'l> {
    /// The machine that it is of, if the line says so: a log may have those of several.
    pub node: Option<&'l [u8]>,
    /// Which one; journald does not write it down.
    pub stamp: Option<Stamp>,
    /// What it is.
    pub kind: Kind,
}

/// What a record is, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A seccomp filter wanted it.
    Seccomp(Box<Verdict>),
    /// SELinux did, or a program that asked it.
    Avc(Box<Avc>),
    /// AppArmor did, or a program that asked it.
    AppArmor(Box<AppArmorRecord>),
    /// Who made the call that led to the records before it, of the same stamp.
    Caller(Box<Process>),
    /// It is one of a filter, and cannot be read.
    Unreadable,
    /// It is one of a security module, or of a program that asked it, and cannot be read. Containers may be able
    /// to send such.
    UnreadableAccess,
    /// Another kind.
    Other,
}

/// What a record is by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// `AUDIT_SECCOMP`.
    Seccomp,
    /// `AUDIT_AVC`, and the types that AppArmor had for itself.
    Access,
    /// `AUDIT_USER_AVC`.
    Told,
    /// `AUDIT_SYSCALL`.
    Syscall,
    /// Another one.
    Other,
}

impl Type {
    fn of_number(number: u64) -> Self {
        match number {
            1107 => Self::Told,
            1300 => Self::Syscall,
            1326 => Self::Seccomp,
            1400 | 1500..=1507 => Self::Access,
            _ => Self::Other,
        }
    }

    /// As auditd and journald write it; what an older one does not know it calls `UNKNOWN[1326]`.
    fn of_name(name: &[u8]) -> Self {
        match name {
            b"SECCOMP" => Self::Seccomp,
            b"AVC" => Self::Access,
            b"USER_AVC" => Self::Told,
            b"SYSCALL" => Self::Syscall,
            _ if name.starts_with(b"APPARMOR") => Self::Access,
            _ => {
                let inner = name.strip_prefix(b"UNKNOWN[");
                let inner = inner.and_then(|rest| rest.strip_suffix(b"]"));
                number(inner.unwrap_or(name)).map_or(Self::Other, Self::of_number)
            }
        }
    }

    fn read(self, fields: &[u8], stamp: Option<Stamp>, kernel: Kernel) -> Kind {
        let end = fields.iter().position(|byte| *byte == ENRICHED);
        let fields = &fields[..end.unwrap_or(fields.len())];
        match self {
            Self::Seccomp => match verdict(fields, stamp, kernel) {
                Some(verdict) => Kind::Seccomp(Box::new(verdict)),
                None => Kind::Unreadable,
            },
            Self::Access => module::access(fields, stamp),
            Self::Told => module::told(fields, stamp),
            Self::Syscall => module::caller(fields, stamp),
            Self::Other => Kind::Other,
        }
    }
}

/// The kernel whose records are read.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Its own architecture (`AUDIT_ARCH_*`); records may be of its 32-bit calls as well.
    pub arch: u32,
}

/// A message of the audit's netlink group. The length in its header is not the message's in all
/// kernels: until 6.x it leaves out the header itself.
pub fn netlink(datagram: &[u8], kernel: Kernel) -> Told<'_> {
    let (Some(header), Some(text)) = (datagram.get(..HEADER), datagram.get(HEADER..)) else {
        return Told::Other;
    };
    let of = u16::from_ne_bytes([header[4], header[5]]);
    record(None, text, Type::of_number(of.into()), kernel)
}

/// A record of `/dev/kmsg` (`Documentation/ABI/testing/dev-kmsg`). What programs wrote there is nothing
/// that the kernel says: their level has a facility in it.
pub fn kernel_record(record: &[u8], kernel: Kernel) -> Told<'_> {
    let line = record.split(|byte| *byte == b'\n').next();
    let Some((prefix, message)) = line.and_then(|line| split(line, b";")) else {
        return Told::Other;
    };
    match split(prefix, b",").and_then(|(level, _)| number(level)) {
        Some(0..8) => kernel_message(message, kernel),
        _ => Told::Other,
    }
}

/// A line of a file, of any of the forms that files have.
pub fn file_line(line: &[u8], kernel: Kernel) -> Told<'_> {
    if line.starts_with(b"type=") || line.starts_with(b"node=") {
        return auditd(line, kernel);
    }
    let Some((head, message)) = split(line, b": ") else {
        return Told::Other;
    };
    let tag = head.rsplit(|byte| *byte == b' ').next().unwrap_or(head);
    if tag == b"kernel" {
        let message = match message.strip_prefix(b"[") {
            Some(timed) => split(timed, b"] ").map_or(message, |(_, message)| message),
            None => message,
        };
        kernel_message(message, kernel)
    } else if tag.starts_with(b"audit[") {
        journald(message, kernel)
    } else if tag.starts_with(b"audisp") {
        auditd(message, kernel)
    } else {
        Told::Other
    }
}

/// What the kernel says in its own log.
fn kernel_message(message: &[u8], kernel: Kernel) -> Told<'_> {
    let Some(said) = message.strip_prefix(b"audit: ") else {
        return Told::Other;
    };
    // `audit_log_lost` in kernel/audit.c.
    if said == b"backlog limit exceeded" || said == b"rate limit exceeded" {
        return Told::Dropped;
    }
    let Some((of, text)) = said
        .strip_prefix(b"type=")
        .and_then(|typed| split(typed, b" "))
    else {
        return Told::Other;
    };
    let of = number(of).map_or(Type::Other, Type::of_number);
    record(None, text, of, kernel)
}

fn auditd(line: &[u8], kernel: Kernel) -> Told<'_> {
    let (node, line) = match line.strip_prefix(b"node=") {
        Some(named) => match split(named, b" ") {
            Some((node, line)) => (Some(node), line),
            None => return Told::Other,
        },
        None => (None, line),
    };
    let Some((of, rest)) = line
        .strip_prefix(b"type=")
        .and_then(|typed| split(typed, b" "))
    else {
        return Told::Other;
    };
    // The daemon's own records have numbers of its own.
    if of.starts_with(b"DAEMON_") {
        return Told::Other;
    }
    let Some(text) = rest.strip_prefix(b"msg=") else {
        return Told::Other;
    };
    record(node, text, Type::of_name(of), kernel)
}

fn journald(message: &[u8], kernel: Kernel) -> Told<'_> {
    let Some((of, fields)) = split(message, b" ") else {
        return Told::Other;
    };
    match Type::of_name(of).read(fields, None, kernel) {
        Kind::Other => Told::Other,
        kind => Told::Record(Record {
            node: None,
            stamp: None,
            kind,
        }),
    }
}

/// A record from `audit(` on.
fn record<'l>(node: Option<&'l [u8]>, text: &[u8], of: Type, kernel: Kernel) -> Told<'l> {
    let (stamp, kind) = match (stamp(text), of) {
        (Some((stamp, fields)), _) => (Some(stamp), of.read(fields, Some(stamp), kernel)),
        (None, Type::Other | Type::Syscall) => return Told::Other,
        (None, Type::Seccomp) => (None, Kind::Unreadable),
        (None, Type::Access | Type::Told) => (None, Kind::UnreadableAccess),
    };
    Told::Record(Record { node, stamp, kind })
}

/// `audit(1795837010.887:107): `, and what follows.
fn stamp(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let text = text.strip_prefix(b"audit(")?;
    let (seconds, text) = split(text, b".")?;
    let (thousandths, text) = split(text, b":")?;
    let (serial, fields) = split(text, b"):")?;
    if thousandths.len() != 3 {
        return None;
    }
    let at_ms = number(seconds)?
        .checked_mul(1000)?
        .checked_add(number(thousandths)?)?;
    let serial = u32::try_from(number(serial)?).ok()?;
    Some((Stamp { at_ms, serial }, fields))
}

/// Digits and nothing else.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What stands before and after the first `separator`.
pub(super) fn split<'t>(text: &'t [u8], separator: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    let at = text
        .windows(separator.len())
        .position(|part| part == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

#[cfg(test)]
mod tests;
