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

use super::seccomp::verdict;
use crate::event::{Stamp, Verdict};

/// `AUDIT_SECCOMP` (`include/uapi/linux/audit.h`).
const SECCOMP: u16 = 1326;
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
    /// It is one of those, and cannot be read.
    Unreadable,
    /// Another kind.
    Other,
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
    let of_seccomp = u16::from_ne_bytes([header[4], header[5]]) == SECCOMP;
    record(None, text, of_seccomp, kernel)
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
    record(None, text, number(of) == Some(SECCOMP.into()), kernel)
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
    // An older auditd does not know the name.
    let of_seccomp = [&b"SECCOMP"[..], b"UNKNOWN[1326]", b"1326"].contains(&of);
    record(node, text, of_seccomp, kernel)
}

fn journald(message: &[u8], kernel: Kernel) -> Told<'_> {
    let Some(fields) = message.strip_prefix(b"SECCOMP ") else {
        return Told::Other;
    };
    Told::Record(Record {
        node: None,
        stamp: None,
        kind: seccomp(fields, None, kernel),
    })
}

/// A record from `audit(` on.
fn record<'l>(node: Option<&'l [u8]>, text: &[u8], of_seccomp: bool, kernel: Kernel) -> Told<'l> {
    let Some((stamp, fields)) = stamp(text) else {
        return if of_seccomp {
            Told::Record(Record {
                node,
                stamp: None,
                kind: Kind::Unreadable,
            })
        } else {
            Told::Other
        };
    };
    let kind = if of_seccomp {
        seccomp(fields, Some(stamp), kernel)
    } else {
        Kind::Other
    };
    Told::Record(Record {
        node,
        stamp: Some(stamp),
        kind,
    })
}

fn seccomp(fields: &[u8], stamp: Option<Stamp>, kernel: Kernel) -> Kind {
    let end = fields.iter().position(|byte| *byte == ENRICHED);
    let fields = &fields[..end.unwrap_or(fields.len())];
    match verdict(fields, stamp, kernel) {
        Some(verdict) => Kind::Seccomp(Box::new(verdict)),
        None => Kind::Unreadable,
    }
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
