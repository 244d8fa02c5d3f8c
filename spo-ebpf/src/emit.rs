//! Records for user space.

use aya_ebpf::helpers::{bpf_get_current_comm, generated::bpf_ktime_get_ns};
use aya_ebpf::{macros::map, maps::RingBuf};
use spo_common::ABI_VERSION;
use spo_common::counter::Counter;
use spo_common::event::{EventHeader, EventKind};

use crate::count::count;

/// User space may set another size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// Nanoseconds since boot.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The name of the current task.
#[inline(always)]
pub fn comm() -> [u8; 16] {
    bpf_get_current_comm().unwrap_or_default()
}

/// The header of a record of type `T`.
#[inline(always)]
pub fn header<T>(kind: EventKind, time_ns: u64) -> EventHeader {
    EventHeader {
        size: size_of::<T>() as u32,
        kind,
        abi_version: ABI_VERSION,
        reserved: 0,
        time_ns,
    }
}

/// Puts a record into the ring buffer, or counts it.
#[inline(always)]
pub fn emit<T: 'static>(record: T) {
    match EVENTS.reserve::<T>(0) {
        Some(mut entry) => {
            entry.write(record);
            entry.submit(0);
        }
        None => count(Counter::RingFull),
    }
}
