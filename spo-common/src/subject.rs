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

/// In `TASKS`: the task changes over to a new mount namespace, and the low bits hold the subject that it comes from.
pub const LEAVING: u32 = 1 << 31;
/// In `TASKS`: the task may enter a mount namespace that exists already, and the low bits hold the subject that it comes
/// from.
pub const ENTERING: u32 = 1 << 30;
/// In `TASKS`: the task, or one that it descends from, entered its mount namespace, and the low bits hold its subject
/// ([`UNRECORDED`] until it executes a program).
pub const ENTERED: u32 = 1 << 29;

/// A subject with its incarnation, in the low bits of a word or of a place: whoever kept it finds out whether the index was
/// given to another one meanwhile. (For them to be mistaken for each other, an index would have to be used 65,536 times, and
/// indices are used in turn.)
#[inline(always)]
#[expect(clippy::inline_always, reason = "eBPF")]
pub const fn reference(subject: u32, incarnation: u32) -> u32 {
    (subject & (MAX - 1)) | ((incarnation << 12) & REFERENCE)
}

/// The bits of a reference.
pub const REFERENCE: u32 = ENTERED - 1;

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
    /// When the index was taken for it: with the index, this names the subject for ever.
    pub taken_ns: u64,
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
    /// How often the index was given or taken back, which are two different things: even while it belongs to somebody.
    pub incarnation: u32,
    /// Name of that thread group: hostile text.
    pub comm: [u8; 16],
    /// Tasks of a subject that entered a namespace.
    pub tasks: u64,
}

/// The slot is free, or the subject is not recorded.
pub const STATE_NONE: u32 = 0;
/// A container runtime prepares the namespace; its calls are not the workload's.
pub const STATE_SETUP: u32 = 1;
/// The workload runs.
pub const STATE_WORKLOAD: u32 = 2;
/// The workload began, and has a subject of its own now.
pub const STATE_HANDED_OVER: u32 = 3;
/// A program that entered a container, and what descends from it.
pub const STATE_ENTERED: u32 = 4;
/// Nobody wants it any more; it is free once no program goes on that took it for what it was.
pub const STATE_RELEASED: u32 = 5;

const _: () = {
    assert!(size_of::<Subject>() == 80);
    assert!(offset_of!(Subject, state) == 32);
    assert!(offset_of!(Subject, comm) == 56);
    assert!(reference(MAX - 1, u32::MAX) == REFERENCE);
    assert!(reference(5, 1 << 17) == 5);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above).
#[expect(unsafe_code, reason = "the type is read from a BPF map")]
unsafe impl aya::Pod for Subject {}
