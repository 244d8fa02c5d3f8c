//! The bounded list of numbers that no set has room for.

use core::mem::size_of;

/// Key of the map `UNNAMED`; the value is how often the call was made.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnnamedKey {
    /// Index of the subject.
    pub subject: u32,
    /// ABI of the call, see [`crate::subject::Abi`].
    pub abi: u32,
    /// The number as the kernel saw it, without the x32 bit.
    pub number: i32,
    /// Zero.
    pub reserved: u32,
}

/// Entries of the map `UNNAMED`.
pub const UNNAMED: u32 = 256;

const _: () = assert!(size_of::<UnnamedKey>() == 16);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above).
#[expect(unsafe_code, reason = "the type is a key of a BPF map")]
unsafe impl aya::Pod for UnnamedKey {}
