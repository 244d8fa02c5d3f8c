//! 64-bit words that every CPU reads and writes.

use core::cell::UnsafeCell;

/// A word that is loaded and stored at once. (LLVM's backend for this target knows no atomic loads.)
#[repr(transparent)]
pub struct Word(UnsafeCell<u64>);

// SAFETY: the only accesses are aligned 64-bit loads and stores, and the atomic addition.
unsafe impl Sync for Word {}

impl Word {
    /// A word with a value.
    pub const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The value.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        // SAFETY: aligned and alive.
        unsafe { core::ptr::read_volatile(self.0.get()) }
    }

    /// Replaces the value.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        // SAFETY: aligned and alive.
        unsafe { core::ptr::write_volatile(self.0.get(), value) }
    }

    /// Adds one, atomically.
    #[inline(always)]
    pub fn increment(&self) {
        // SAFETY: aligned and alive.
        unsafe { increment(self.0.get()) }
    }
}

/// Adds one to a word that others add to at the same time.
///
/// The plain atomic addition is in every kernel; those that also return the old value came with 5.12, and Rust offers
/// no atomic arithmetic for this target.
///
/// # Safety
///
/// `word` is aligned and within a map's value.
#[inline(always)]
pub unsafe fn increment(word: *mut u64) {
    // SAFETY: the same.
    unsafe { add(word, 1) };
}

/// Takes one away from a word that others add to at the same time.
///
/// # Safety
///
/// As for [`increment`].
#[inline(always)]
pub unsafe fn decrement(word: *mut u64) {
    // SAFETY: the same.
    unsafe { add(word, u64::MAX) };
}

/// # Safety
///
/// As for [`increment`].
#[inline(always)]
unsafe fn add(word: *mut u64, number: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: see above.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({word} + 0) += {number}",
            word = in(reg) word,
            number = in(reg) number,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    let _ = (word, number);
}
