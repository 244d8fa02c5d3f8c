//! The counters.

use aya_ebpf::{macros::map, maps::Array};
use spo_common::counter::Counter;

use crate::word::increment;

#[map]
static COUNTERS: Array<u64> = Array::with_max_entries(Counter::COUNT, 0);

/// Adds one.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter.index()) {
        // SAFETY: an element of the array.
        unsafe { increment(value) };
    }
}
