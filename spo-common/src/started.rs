//! How a subject began: elements of the map `STARTED`, by the index of the subject.

use core::mem::{offset_of, size_of};

/// Bytes of a name, or of arguments, that are kept.
pub const TEXT: usize = 128;
/// Bytes of a cgroup's own name that are kept. The longest that a runtime gives is one of 145 bytes: that of
/// a pod's slice and of a container, with a prefix, in one name.
pub const LEAF: usize = 192;

/// The last two names of a cgroup's path, each ended by a zero byte.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Cgroup {
    /// Its own name.
    pub leaf: [u8; LEAF],
    /// The name of the cgroup above.
    pub parent: [u8; TEXT],
}

/// What the subject's first program is, and where.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// Bytes of its arguments, of which `arguments` holds the first ones; 0 if they could not be read.
    pub arguments_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Its arguments, each ended by a zero byte: hostile text.
    pub arguments: [u8; TEXT],
    /// Its cgroup in the hierarchy of version 2.
    pub unified: Cgroup,
    /// Its cgroup in the hierarchy of a controller, which on some hosts is one of version 1.
    pub controller: Cgroup,
}

impl Started {
    /// Of a subject that has not begun.
    pub const NONE: Self = Self {
        arguments_size: 0,
        reserved: 0,
        arguments: [0; TEXT],
        unified: Cgroup::NONE,
        controller: Cgroup::NONE,
    };
}

impl Cgroup {
    const NONE: Self = Self {
        leaf: [0; LEAF],
        parent: [0; TEXT],
    };
}

const _: () = {
    assert!(size_of::<Cgroup>() == 320);
    assert!(size_of::<Started>() == 776);
    assert!(offset_of!(Started, unified) == 136);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above).
#[expect(unsafe_code, reason = "the type is read from a BPF map")]
unsafe impl aya::Pod for Started {}
