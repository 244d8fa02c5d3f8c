//! What this process may do.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use procfs::process::Process;
use rustix::process::Uid;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

/// A capability: its bit (`include/uapi/linux/capability.h`) and its name.
pub type Capability = (u32, &'static str);

/// Loads programs and maps.
pub const BPF: Capability = (39, "CAP_BPF");
/// Attaches programs to tracepoints, and lets them read kernel structures.
pub const PERFMON: Capability = (38, "CAP_PERFMON");
/// Reads what belongs to others in `/proc`.
pub const SYS_PTRACE: Capability = (19, "CAP_SYS_PTRACE");
/// What recording a command needs; nothing else.
pub const TO_RECORD: [Capability; 2] = [BPF, PERFMON];

/// Before 5.8, and still today, it stands for the first two.
const SYS_ADMIN: Capability = (21, "CAP_SYS_ADMIN");

/// The inode of the initial user namespace (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// Whether this process is in the host's user namespace. In another, capabilities count for what
/// belongs to that one, and the kernel's programs do not (`bpf_capable`, `kernel/bpf/token.c`).
pub fn in_initial_user_namespace() -> bool {
    fs::metadata("/proc/self/ns/user").is_ok_and(|data| data.ino() == INITIAL_USER_NAMESPACE)
}

/// Whether this process has a capability now, or one that stands for it.
pub fn has(capability: Capability) -> bool {
    if !in_initial_user_namespace() {
        return false;
    }
    // `/proc/self` is always readable where `/proc` is mounted.
    let effective = Process::myself()
        .and_then(|process| process.status())
        .map_or(0, |status| status.capeff);
    let holds = |(bit, _): Capability| effective & (1 << bit) != 0;
    holds(capability) || (capability != SYS_PTRACE && holds(SYS_ADMIN))
}

/// The names of those that are missing.
pub fn missing(needed: &[Capability]) -> Vec<&'static str> {
    needed
        .iter()
        .filter(|capability| !has(**capability))
        .map(|(_, name)| *name)
        .collect()
}

/// Becomes another user that has these capabilities, as far as this one has them, and no others. Only for a
/// process of one thread: others would stay what they are.
pub fn become_user(user: u32, kept: &[Capability]) -> io::Result<()> {
    let bits = kept.iter().fold(0, |bits, (bit, _)| bits | 1 << bit);
    let held = thread::capabilities(None)?.permitted;
    let kept = CapabilitySet::from_bits_retain(bits) & held;
    // Who is root no more has none, unless it says so.
    thread::set_keep_capabilities(true)?;
    let user = Uid::from_raw(user);
    thread::set_thread_res_uid(user, user, user)?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, sets)?;
    Ok(())
}
