//! Calls that are made by way of another one.

use super::verdict::{Branch, Call, Verdict};
use super::{Operator, SyscallArg};
use crate::profile::arch::Arch;
use crate::profile::syscalls;

/// The rules for a call as rules for the call that it is made by, with this first argument.
pub(super) fn behind(call: &Call, first: u64, default: Verdict) -> Call {
    let is_first = SyscallArg {
        index: 0,
        value: first,
        value_two: 0,
        op: Operator::Equal,
    };
    let branch = |conditions: &[SyscallArg], verdict| {
        let others = conditions.iter().filter(|condition| condition.index != 0);
        Branch {
            conditions: [is_first].into_iter().chain(others.copied()).collect(),
            verdict,
        }
    };
    let mut branches: Vec<_> = call
        .branches
        .iter()
        .map(|known| branch(&known.conditions, known.verdict))
        .collect();
    if branches.is_empty() {
        branches.extend(call.otherwise.map(|verdict| branch(&[], verdict)));
    }
    Call {
        otherwise: Some(default),
        branches,
    }
}

/// The calls behind `socketcall`, from 1 (`include/uapi/linux/net.h`).
const SOCKETCALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// The calls behind `ipc` (`include/uapi/linux/ipc.h`).
const IPC_CALLS: [(u64, &str); 12] = [
    (1, "semop"),
    (2, "semget"),
    (3, "semctl"),
    (4, "semtimedop"),
    (11, "msgsnd"),
    (12, "msgrcv"),
    (13, "msgget"),
    (14, "msgctl"),
    (21, "shmat"),
    (22, "shmdt"),
    (23, "shmget"),
    (24, "shmctl"),
];

/// The number of the call that a call may be made by, and the first argument that stands for it there.
pub(super) fn multiplexed(arch: Arch, name: &str) -> Option<(u32, u64)> {
    if !matches!(arch, Arch::X86 | Arch::S390x | Arch::Ppc64le) {
        return None;
    }
    if let Some(at) = SOCKETCALLS.iter().position(|known| *known == name) {
        let number = syscalls::number(arch, "socketcall")?;
        return Some((number, u64::try_from(at).ok()? + 1));
    }
    let (first, _) = IPC_CALLS.into_iter().find(|(_, known)| *known == name)?;
    Some((syscalls::number(arch, "ipc")?, first))
}
