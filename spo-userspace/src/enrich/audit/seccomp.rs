//! The fields of a record of type `SECCOMP` (`audit_seccomp` in `kernel/auditsc.c`).

use super::line::{Kernel, number, split};
use crate::event::{Abi, Call, Comm, Stamp, Verdict};

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

/// A text that a process chose (`audit_log_untrustedstring` in `kernel/audit.c`).
fn chosen(value: &[u8]) -> Option<Vec<u8>> {
    if let Some(quoted) = value.strip_prefix(b"\"") {
        return quoted.strip_suffix(b"\"").map(<[u8]>::to_vec);
    }
    if value.is_empty() || !value.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    value
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok())
        .collect()
}

fn task_name(name: Vec<u8>) -> Comm {
    let mut comm = Comm::default();
    // The last byte stays 0.
    for (to, from) in comm.0.iter_mut().take(15).zip(name) {
        *to = from;
    }
    comm
}

fn hexadecimal(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with('+') {
        return None;
    }
    u32::from_str_radix(text, 16).ok()
}
