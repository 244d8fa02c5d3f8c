//! The counters.

use aya_ebpf::{macros::map, maps::Array};
use spo_common::counter::Counter;

use crate::word::increment;

#[map]
static COUNTERS: Array<u64> = Array::with_max_entries(Counter::COUNT, 0);

/// The value of a counter.
#[inline(always)]
pub fn value(counter: Counter) -> u64 {
    // SAFETY: an element of the array, read at once.
    COUNTERS
        .get_ptr(counter.index())
        .map_or(0, |value| unsafe { core::ptr::read_volatile(value) })
}

/// Adds one.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter.index()) {
        // SAFETY: an element of the array.
        unsafe { increment(value) };
    }
}
