//! Records in the ring buffer `EVENTS`.

use core::mem::{offset_of, size_of};

/// What a record is about; an unknown value is data, not undefined behaviour.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKind(pub u32);

impl EventKind {
    /// A [`FirstSight`].
    pub const FIRST_SIGHT: Self = Self(1);
    /// A [`Denial`].
    pub const DENIAL: Self = Self(2);
    /// A [`Started`].
    pub const STARTED: Self = Self(3);
    /// A [`Crowded`].
    pub const CROWDED: Self = Self(4);
    /// A [`FirstUse`].
    pub const FIRST_USE: Self = Self(5);
}

/// The beginning of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EventHeader {
    /// Size of the whole record, in bytes.
    pub size: u32,
    /// What follows.
    pub kind: EventKind,
    /// [`crate::ABI_VERSION`] of the sender.
    pub abi_version: u32,
    /// Zero.
    pub reserved: u32,
    /// `bpf_ktime_get_ns()`: nanoseconds since boot, without suspend.
    pub time_ns: u64,
}

/// A subject made a system call for the first time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FirstSight {
    /// Kind [`EventKind::FIRST_SIGHT`].
    pub header: EventHeader,
    /// Index of the subject.
    pub subject: u32,
    /// ABI of the call, see [`crate::subject::Abi`].
    pub abi: u32,
    /// Number of the call within its ABI, without the x32 bit.
    pub number: i32,
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Zero.
    pub reserved: u32,
    /// `task_struct.comm`: hostile text.
    pub comm: [u8; 16],
}

/// A subject began: the element of the map `STARTED` with its index says how.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// Kind [`EventKind::STARTED`].
    pub header: EventHeader,
    /// Index of the subject.
    pub subject: u32,
    /// Zero.
    pub reserved: u32,
}

/// A subject used a capability for the first time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FirstUse {
    /// Kind [`EventKind::FIRST_USE`].
    pub header: EventHeader,
    /// Index of the subject.
    pub subject: u32,
    /// Number of the capability.
    pub capability: u32,
}

/// A map is fuller than user space wants it to be.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Crowded {
    /// Kind [`EventKind::CROWDED`].
    pub header: EventHeader,
}

/// A system call that left the kernel without having entered it: something before the entry
/// hook, such as a seccomp filter, answered it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Denial {
    /// Kind [`EventKind::DENIAL`].
    pub header: EventHeader,
    /// What the caller got.
    pub result: i64,
    /// ABI of the call, see [`crate::subject::Abi`].
    pub abi: u32,
    /// Number of the call within its ABI, without the x32 bit.
    pub number: i32,
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// 1 if the task died of it (SIGSYS), else 0.
    pub killed: u32,
    /// Zero.
    pub reserved: u32,
    /// `task_struct.comm`: hostile text.
    pub comm: [u8; 16],
}

const _: () = {
    assert!(size_of::<EventHeader>() == 24);
    assert!(offset_of!(EventHeader, time_ns) == 16);
    assert!(size_of::<FirstSight>() == 64);
    assert!(offset_of!(FirstSight, number) == 32);
    assert!(offset_of!(FirstSight, comm) == 48);
    assert!(size_of::<Started>() == 32);
    assert!(offset_of!(Started, subject) == 24);
    assert!(size_of::<FirstUse>() == 32);
    assert!(offset_of!(FirstUse, subject) == 24);
    assert!(size_of::<Crowded>() == 24);
    assert!(size_of::<Denial>() == 72);
    assert!(offset_of!(Denial, comm) == 56);
};
