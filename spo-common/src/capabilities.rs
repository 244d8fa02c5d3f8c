//! Which capabilities a subject used.

use core::mem::{offset_of, size_of};

/// Numbers of capabilities that there is room for: kernels have 41, and no more than 64 as long as their sets are 64 bits.
pub const CAPABILITIES: usize = 64;

/// Value of a byte in [`Capabilities::used`]: never used.
pub const UNUSED: u8 = 0;
/// Used at least once.
pub const USED: u8 = 1;

/// An element of the map `CAPABILITIES`, by the index of the subject.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// Where the kernel keeps the user namespace in which the subject began; 0 until it has begun. The kernel keeps nothing
    /// else there as long as the subject has tasks.
    pub user_namespace: u64,
    /// One byte a capability, stored as those of a [`Set`](crate::subject::Set) are.
    pub used: [u8; CAPABILITIES],
}

impl Capabilities {
    /// Nothing was used.
    pub const NONE: Self = Self {
        user_namespace: 0,
        used: [UNUSED; CAPABILITIES],
    };
}

const _: () = {
    assert!(size_of::<Capabilities>() == 72);
    assert!(offset_of!(Capabilities, used) == 8);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above).
#[expect(unsafe_code, reason = "the type is read from a BPF map")]
unsafe impl aya::Pod for Capabilities {}
