//! Tells user space when the maps get full.

use aya_ebpf::{macros::map, maps::Array};
use spo_common::counter::Counter;
use spo_common::event::{Crowded, EventKind};

use crate::count::{count, value};
use crate::{emit, namespaces};

/// How far the counters may rise before user space is told: of namespaces, and of subjects.
#[map]
static ROOM: Array<u64> = Array::with_max_entries(2, 0);

/// Counts a namespace that found a place, and tells user space if there is not much room left.
#[inline(always)]
pub fn count_admitted() {
    count_and_tell(Counter::Admitted, 0);
}

/// Counts a subject that was taken, and tells user space if there is not much room left.
#[inline(always)]
pub fn count_taken() {
    count_and_tell(Counter::Taken, 1);
}

#[inline(always)]
fn count_and_tell(counter: Counter, room: u32) {
    count(counter);
    if namespaces::continuous() == 0 {
        return;
    }
    // SAFETY: an element of the array, read at once.
    let Some(room) = ROOM
        .get_ptr(room)
        .map(|room| unsafe { core::ptr::read_volatile(room) })
    else {
        return;
    };
    if value(counter) >= room {
        emit::emit(Crowded {
            header: emit::header::<Crowded>(EventKind::CROWDED, emit::now()),
        });
    }
}
