//! The fields of records of security modules: SELinux's and AppArmor's own, which have the same type, and
//! those that programs tell for them.
//!
//! | module | text |
//! |---|---|
//! | SELinux | `avc:  denied  { read write } for  pid=7 comm="cat" name="x" ... scontext=A tcontext=B tclass=file permissive=0` |
//! | AppArmor | `apparmor="DENIED" operation="open" profile="p" name="/x" pid=7 comm="cat" requested_mask="r" ...` |
//! | a program | `pid=1 uid=0 ... msg='avc:  denied  { start } for ... exe="..." sauid=0 hostname=? addr=? terminal=?'` |

use super::fields::{Field, Fields, Value, task_name};
use super::line::{Kind, number, split};
use crate::event::{AppArmorAnswer, AppArmorRecord, Avc, AvcAnswer, Detail, Process, Stamp};

/// Details that are kept of a record; none has nearly as many.
const DETAILS: usize = 64;

/// What a record of the type `AVC` says (`common_lsm_audit` in `security/lsm_audit.c`). Other modules use it as well.
pub(super) fn access(fields: &[u8], stamp: Option<Stamp>) -> Kind {
    said(trimmed(fields), stamp, None)
}

/// What a record of the type `USER_AVC` says: who sent it the kernel writes first (`audit_log_common_recv_msg` in
/// `kernel/audit.c`), and then what that one said.
///
/// A container may have the capability to send such a record, with anything in it. It can't write another `pid`.
pub(super) fn told(fields: &[u8], stamp: Option<Stamp>) -> Kind {
    let fields = trimmed(fields);
    let Some((head, message)) = split(fields, b" msg='") else {
        return Kind::UnreadableAccess;
    };
    let Some(tgid) = head
        .trim_ascii_start()
        .strip_prefix(b"pid=")
        .and_then(|rest| rest.split(|byte| *byte == b' ').next())
        .and_then(tgid)
    else {
        return Kind::UnreadableAccess;
    };
    let message = message.strip_suffix(b"'").unwrap_or(message);
    let teller = Process {
        tgid,
        ..Process::default()
    };
    said(message, stamp, Some(&teller))
}

/// Who made a call, of a record of the type `SYSCALL`, which stands behind those of the event that it led to.
pub(super) fn caller(fields: &[u8], stamp: Option<Stamp>) -> Kind {
    let mut process = Process::default();
    let mut has_pid = false;
    for field in Fields(trimmed(fields)) {
        let Ok(Field { key, value }) = field else {
            return Kind::Other;
        };
        match key {
            b"pid" => {
                let Some(pid) = tgid(value.bytes()) else {
                    return Kind::Other;
                };
                process.tgid = pid;
                has_pid = true;
            }
            b"comm" => process.comm = value.chosen().map(task_name).unwrap_or_default(),
            b"exe" => process.exe = value.chosen(),
            // Behind it stands what somebody named.
            b"subj" => break,
            _ => {}
        }
    }
    match stamp {
        Some(_) if has_pid => Kind::Caller(Box::new(process)),
        _ => Kind::Other,
    }
}

fn said(text: &[u8], stamp: Option<Stamp>, teller: Option<&Process>) -> Kind {
    let text = text.trim_ascii_start();
    // Without permissions it is a notice: that a policy was loaded, say.
    if let Some(rest) = text.strip_prefix(b"avc:")
        && rest.contains(&b'{')
    {
        return avc(rest, stamp, teller)
            .map_or(Kind::UnreadableAccess, |avc| Kind::Avc(Box::new(avc)));
    }
    if text.starts_with(b"apparmor=") {
        let record = apparmor(text, stamp, teller);
        return record.map_or(Kind::UnreadableAccess, |record| {
            Kind::AppArmor(Box::new(record))
        });
    }
    // Of another module, or a program's word about its policy.
    Kind::Other
}

/// `  denied  { read write } for  pid=7 ...`
fn avc(text: &[u8], stamp: Option<Stamp>, teller: Option<&Process>) -> Option<Avc> {
    let (word, rest) = split(text.trim_ascii_start(), b" ")?;
    let (before, rest) = split(rest, b"{")?;
    let (permissions, rest) = split(rest, b"}")?;
    if !before.trim_ascii().is_empty() {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let permissions: Option<Vec<_>> = permissions
        .split(|byte| *byte == b' ')
        .filter(|permission| !permission.is_empty())
        .map(name_of)
        .collect();
    let Said {
        pid,
        process,
        mut details,
    } = Said::read(rest.strip_prefix(b"for").unwrap_or(rest), teller)?;
    let mut take = |key: &str| {
        let at = details.iter().rposition(|detail| detail.key == key)?;
        String::from_utf8(details.remove(at).value).ok()
    };
    let permissive = take("permissive");
    let answer = match (word, permissive.as_deref()) {
        (b"granted", _) => AvcAnswer::Granted,
        (b"denied", Some("1")) => AvcAnswer::Permitted,
        (b"denied", _) => AvcAnswer::Denied,
        _ => return None,
    };
    let mut label = |key: &str| take(key).filter(|label| is_label(label));
    let (scontext, tcontext, tclass) = (label("scontext")?, label("tcontext")?, label("tclass")?);
    let told = teller.is_some();
    if !told && !pid {
        return None;
    }
    Some(Avc {
        stamp,
        answer,
        permissions: permissions.filter(|all| !all.is_empty())?,
        process,
        told,
        scontext,
        tcontext,
        tclass,
        details,
    })
}

fn apparmor(text: &[u8], stamp: Option<Stamp>, teller: Option<&Process>) -> Option<AppArmorRecord> {
    let Said {
        pid,
        process,
        mut details,
    } = Said::read(text, teller)?;
    let mut take = |key: &str| {
        let at = details.iter().position(|detail| detail.key == key)?;
        Some(details.remove(at).value)
    };
    let word = name_of(&take("apparmor")?)?;
    let answer = match word.as_str() {
        "DENIED" => AppArmorAnswer::Denied { killed: false },
        "KILLED" => AppArmorAnswer::Denied { killed: true },
        "ALLOWED" => AppArmorAnswer::Allowed,
        "AUDIT" => AppArmorAnswer::Audit,
        _ => AppArmorAnswer::Other,
    };
    let told = teller.is_some();
    // What is told of the module itself need not be of a process.
    if !told && !pid && answer != AppArmorAnswer::Other {
        return None;
    }
    let operation = take("operation").unwrap_or_default();
    Some(AppArmorRecord {
        stamp,
        answer,
        word,
        operation: name_of(&operation).unwrap_or_default(),
        profile: take("profile")
            .or_else(|| take("label"))
            .unwrap_or_default(),
        name: take("name"),
        process,
        told,
        details,
    })
}

/// The fields of what was said.
struct Said {
    /// Whether the process was named.
    pid: bool,
    process: Process,
    details: Vec<Detail>,
}

impl Said {
    /// None if they are cut, or too many. Of what a program told, its process is the kernel's word.
    fn read(text: &[u8], teller: Option<&Process>) -> Option<Self> {
        let mut said = Self {
            pid: false,
            process: teller.cloned().unwrap_or_default(),
            details: Vec::new(),
        };
        for field in Fields(text) {
            let Field { key, value } = field.ok()?;
            match key {
                b"pid" if teller.is_none() && !said.pid => {
                    said.process.tgid = tgid(value.bytes())?;
                    said.pid = true;
                }
                b"comm" if teller.is_none() => {
                    said.process.comm = value.chosen().map(task_name).unwrap_or_default();
                }
                _ if said.details.len() < DETAILS => said.details.push(detail(key, value)?),
                _ => return None,
            }
        }
        Some(said)
    }
}

fn detail(key: &[u8], value: Value<'_>) -> Option<Detail> {
    // Of these, the kernel writes digits where it cannot quote.
    const CHOSEN: [&str; 13] = [
        "name",
        "path",
        "profile",
        "peer",
        "target",
        "info",
        "ns",
        "label",
        "namespace",
        "srcname",
        "exe",
        "cmdline",
        "dev",
    ];
    let key = name_of(key)?;
    let (value, quoted) = match value {
        Value::Quoted(text) => (text.to_vec(), true),
        Value::Bare(text) => match value.chosen() {
            Some(chosen) if CHOSEN.contains(&key.as_str()) => (chosen, true),
            _ => (text.to_vec(), false),
        },
    };
    Some(Detail { key, value, quoted })
}

/// A context has the names of a policy, and levels.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A word of the kernel's or of a policy's.
fn name_of(text: &[u8]) -> Option<String> {
    let is = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    let is_name = !text.is_empty() && text.len() <= 128 && text.iter().all(is);
    is_name.then(|| String::from_utf8_lossy(text).into_owned())
}

fn tgid(text: &[u8]) -> Option<u32> {
    u32::try_from(number(text).filter(|_| !text.is_empty())?).ok()
}

/// Without what ends a message of netlink, and what auditd adds.
fn trimmed(fields: &[u8]) -> &[u8] {
    let fields = fields.trim_ascii_end();
    fields.strip_suffix(&[0]).unwrap_or(fields).trim_ascii_end()
}

#[cfg(test)]
mod tests;
