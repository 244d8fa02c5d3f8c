//! The map of mount namespaces, and the cache in front of it.

/// A word that describes itself: namespace, generation and subject together, so that a word read
/// on another CPU, or written before something changed, is recognised as such.
///
/// Bits 63-28: the low 36 bits of the namespace's id, which the kernel counts up from 1. Bits 27-12: the
/// generation. Bits 11-0: the subject. (For two words to be mistaken for each other, 2^36 namespaces would have to come into
/// being. Generations begin anew after 65,536, and by then each word was cleared several times: each generation clears one.)
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hint(pub u64);

/// A value of the map `NAMESPACES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where the kernel keeps the namespace. It may be gone; whether it is there still is seen by its id.
    pub pointer: u64,
    /// A reference to the subject that the namespace belongs to, see [`crate::subject::reference`].
    pub subject: u32,
    /// Zero.
    pub reserved: u32,
}

/// Number of words, a power of two.
pub const HINTS: u32 = 4096;

impl Hint {
    /// The word for a namespace at a generation, for subject 0.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "eBPF")]
    pub const fn tag(namespace: u64, generation: u32) -> u64 {
        (namespace << 28) | (((generation & 0xffff) as u64) << 12)
    }

    /// The subject, if the word is for that tag.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "eBPF")]
    pub const fn subject(self, tag: u64) -> Option<u32> {
        let subject = self.0 ^ tag;
        if subject < crate::subject::MAX as u64 {
            #[expect(clippy::cast_possible_truncation, reason = "below 4096")]
            Some(subject as u32)
        } else {
            None
        }
    }

    /// Where the word of a namespace stands.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "eBPF")]
    pub const fn index(namespace: u64) -> u32 {
        // Fibonacci hashing: ids come in runs.
        (namespace.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as u32
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted below).
#[expect(unsafe_code, reason = "the type is a value of a BPF map")]
unsafe impl aya::Pod for Place {}

const _: () = {
    assert!(core::mem::size_of::<Place>() == 16);
    assert!(HINTS == 1 << 12);
    assert!(matches!(
        Hint(Hint::tag(77, 3) | 5).subject(Hint::tag(77, 3)),
        Some(5)
    ));
    assert!(
        Hint(Hint::tag(77, 3) | 5)
            .subject(Hint::tag(77, 4))
            .is_none()
    );
    assert!(
        Hint(Hint::tag(78, 3) | 5)
            .subject(Hint::tag(77, 3))
            .is_none()
    );
};
