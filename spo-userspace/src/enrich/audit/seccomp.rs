//! The fields of a record of type `SECCOMP` (`audit_seccomp` in `kernel/auditsc.c`).

use super::fields::{chosen, task_name};
use super::line::{Kernel, number, split};
use crate::event::{Abi, Call, Stamp, Verdict};

const X86_64: u32 = 0xc000_003e;
const X32_BIT: i32 = 0x4000_0000;

/// What the fields say; none if something that is needed is not there.
///
/// They are read from the end. There the kernel puts numbers, and names that are quoted or in
/// hexadecimal digits, so that they have neither spaces nor quotes. What stands before `pid` may be
/// the name of a security module's profile, as somebody chose it.
pub(super) fn verdict(fields: &[u8], stamp: Option<Stamp>, kernel: Kernel) -> Option<Verdict> {
    let mut comm = None;
    let mut exe = None;
    let mut signal = None;
    let mut arch = None;
    let mut syscall = None;
    let mut code = None;
    let fields = fields.trim_ascii_end();
    let fields = fields.strip_suffix(&[0]).unwrap_or(fields);
    for field in fields.rsplit(|byte| *byte == b' ') {
        let Some((key, value)) = split(field, b"=") else {
            continue;
        };
        let slot = match key {
            b"comm" => &mut comm,
            b"exe" => &mut exe,
            b"sig" => &mut signal,
            b"arch" => &mut arch,
            b"syscall" => &mut syscall,
            b"code" => &mut code,
            b"pid" => {
                let call = call(hexadecimal(arch?)?, syscall?, kernel)?;
                return Some(Verdict {
                    stamp,
                    call,
                    code: code
                        .and_then(|code| code.strip_prefix(b"0x"))
                        .map_or(Some(0), hexadecimal)?,
                    signal: signal
                        .map_or(Some(0), number)
                        .and_then(|signal| u32::try_from(signal).ok())?,
                    tgid: u32::try_from(number(value)?).ok()?,
                    comm: comm.and_then(chosen).map(task_name).unwrap_or_default(),
                    exe: exe.and_then(chosen),
                });
            }
            _ => continue,
        };
        slot.get_or_insert(value);
    }
    None
}

/// The call by its number as the kernel has it at entry. A kernel has no other calls than its own
/// and those of its 32-bit architecture.
fn call(arch: u32, number: &[u8], kernel: Kernel) -> Option<Call> {
    let number: i64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    let number = i32::try_from(number).ok()?;
    let abi = if arch != kernel.arch {
        Abi::Compat
    } else if arch == X86_64 && number >= 0 && number & X32_BIT != 0 {
        Abi::X32
    } else {
        Abi::Native
    };
    let number = match abi {
        Abi::X32 => number & !X32_BIT,
        Abi::Native | Abi::Compat => number,
    };
    Some(Call { abi, number })
}

fn hexadecimal(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with('+') {
        return None;
    }
    u32::from_str_radix(text, 16).ok()
}
