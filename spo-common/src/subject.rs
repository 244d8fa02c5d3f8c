//! Subjects (what a profile is made for) and their sets of system calls.

use core::mem::{offset_of, size_of};

/// Subject of every task that is not recorded. Its set only says which calls need no second look.
pub const UNRECORDED: u32 = 0;
/// Subject of the held command until it calls `execve`.
pub const ARMED: u32 = 1;
/// The first subject that a profile is made of.
pub const FIRST: u32 = 2;
/// The largest number of subjects: [`crate::namespace::Hint`] has 12 bits for them.
pub const MAX: u32 = 1 << 12;

/// The calling convention of a system call, as an index into a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Abi {
    /// The kernel's own.
    Native = 0,
    /// The 32-bit one of a 64-bit kernel: i386, arm, ...
    Compat = 1,
    /// x32: 64-bit entry, numbers with bit 30.
    X32 = 2,
}

impl Abi {
    /// All, in the order of a set.
    pub const ALL: [Self; 3] = [Self::Native, Self::Compat, Self::X32];
}

/// Numbers per ABI: the kernel's tables end below 600. (The private calls of 32-bit arm are far above, and go to the list
/// of numbers that no set has room for, where they get their names.)
pub const NUMBERS: u32 = 1024;
/// Bytes of one set.
pub const SET_SIZE: usize = Abi::ALL.len() * NUMBERS as usize;

/// One byte per call, not one bit: setting it is a plain store, so that no update is lost
/// between CPUs and threads without an atomic instruction (which kernels before 5.12 lack).
pub type Set = [u8; SET_SIZE];

/// Value of a byte in a [`Set`]: never made.
pub const UNSEEN: u8 = 0;
/// Made; nothing more to do.
pub const SEEN: u8 = 1;
/// Made; the program wants to see it every time.
pub const WATCHED: u8 = 2;

/// In `TASKS`: the task changes its mount namespace, and the low bits hold the subject that it comes from.
pub const LEAVING: u16 = 0x8000;
/// In `TASKS`: the task enters a mount namespace that exists already.
pub const ENTERING: u16 = 0xffff;

/// What is known of a subject besides its set.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject {
    /// The mount namespace that made it a subject, or 0.
    pub namespace: u64,
    /// Time of its first call, `bpf_ktime_get_ns()`.
    pub first_ns: u64,
    /// Time of the last call that it had not made before.
    pub last_new_ns: u64,
    /// One of `STATE_*`.
    pub state: u32,
    /// 1 if a task of it ran under a seccomp filter: calls that the filter refused were not seen.
    pub filtered: u32,
    /// 1 if a program was executed in it.
    pub executed: u32,
    /// Inode number of the namespace.
    pub inum: u32,
    /// Thread group that called first, or whose `execve` started the workload.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of that thread group: hostile text.
    pub comm: [u8; 16],
}

/// The slot is free, or the subject is not recorded.
pub const STATE_NONE: u32 = 0;
/// A container runtime prepares the namespace; its calls are not the workload's.
pub const STATE_SETUP: u32 = 1;
/// The workload runs.
pub const STATE_WORKLOAD: u32 = 2;
/// The workload began, and has a subject of its own now.
pub const STATE_HANDED_OVER: u32 = 3;

const _: () = {
    assert!(size_of::<Subject>() == 64);
    assert!(offset_of!(Subject, state) == 24);
    assert!(offset_of!(Subject, comm) == 48);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above).
#[expect(unsafe_code, reason = "the type is read from a BPF map")]
unsafe impl aya::Pod for Subject {}
