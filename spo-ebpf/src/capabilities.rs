//! Notes which capabilities subjects use.

use aya_ebpf::{macros::map, maps::Array};
use spo_common::capabilities::{CAPABILITIES as NUMBERS, Capabilities, UNUSED, USED};
use spo_common::counter::Counter;
use spo_common::event::{EventKind, FirstUse};

use crate::count::count;
use crate::kernel::{Access, Task};
use crate::{emit, namespaces};

/// By the index of the subject.
#[map]
static CAPABILITIES: Array<Capabilities> = Array::with_max_entries(1, 0);

/// A subject begins with this task: from now on it counts what it may do in the task's user namespace.
#[inline(always)]
pub fn begin<A: Access>(subject: u32, task: Task<A>) {
    if let Some(known) = CAPABILITIES.get_ptr_mut(subject) {
        // SAFETY: within the map.
        unsafe { (*known).user_namespace = task.user_namespace() };
    }
}

/// The kernel checked a capability, and it was there: with these credentials, for what belongs to this user namespace.
///
/// A check counts for the subject of the current task if
///
/// - it was made with the task's own credentials. Overlay file systems check with those of whoever mounted them, which are
///   the runtime's, and replace the task's meanwhile (`override_creds`), but not its real ones;
/// - it was for the user namespace in which the subject began. In one that a program makes for itself it has all
///   capabilities, whether or not it had any before.
#[inline(always)]
pub fn granted<A: Access>(credentials: u64, user_namespace: u64, capability: u32) {
    let task = Task::<A>::current();
    if task.real_credentials() != credentials {
        return;
    }
    let subject = namespaces::subject_amid_call(task);
    let Some(known) = CAPABILITIES.get_ptr_mut(subject) else {
        return;
    };
    // SAFETY: within the map, read at once.
    if unsafe { core::ptr::read_volatile(&raw const (*known).user_namespace) } != user_namespace {
        return;
    }
    if capability as usize >= NUMBERS {
        count(Counter::Unresolved);
        return;
    }
    // SAFETY: within the map. Every thread stores the same value.
    unsafe {
        let byte = (&raw mut (*known).used)
            .cast::<u8>()
            .add(capability as usize);
        if core::ptr::read_volatile(byte) != UNUSED {
            return;
        }
        core::ptr::write_volatile(byte, USED);
    }
    emit::emit(FirstUse {
        header: emit::header::<FirstUse>(EventKind::FIRST_USE, emit::now()),
        subject,
        capability,
    });
}
