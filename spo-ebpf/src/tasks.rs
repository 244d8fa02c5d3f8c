//! One 32-bit word per thread id of the initial pid namespace: which subject a task belongs to, or
//! what is known of the way it came to its mount namespace.
//!
//! A word is written by the task itself, or by its parent before it runs for the first time
//! (which also replaces what an earlier owner of the number left behind).

use aya_ebpf::{macros::map, maps::Array};
use spo_common::counter::Counter;

use crate::count::count;

/// Two words each; user space sets the size to half of `kernel.pid_max`.
#[map]
static TASKS: Array<u64> = Array::with_max_entries(1024, 0);

#[inline(always)]
fn word(tid: u32) -> Option<*mut u32> {
    let two = TASKS.get_ptr_mut(tid >> 1)?;
    // SAFETY: one of the two words of an element.
    Some(unsafe { two.cast::<u32>().add((tid & 1) as usize) })
}

/// The word of a thread; a thread id beyond the table is counted and reads as 0.
#[inline(always)]
pub fn get(tid: u32) -> u32 {
    match word(tid) {
        // SAFETY: within the map; 32 bits are read at once.
        Some(word) => unsafe { core::ptr::read_volatile(word) },
        None => {
            count(Counter::Unresolved);
            0
        }
    }
}

/// Sets the word of a thread.
#[inline(always)]
pub fn set(tid: u32, value: u32) {
    match word(tid) {
        // SAFETY: within the map; 32 bits are written at once.
        Some(word) => unsafe { core::ptr::write_volatile(word, value) },
        None => count(Counter::Unresolved),
    }
}
