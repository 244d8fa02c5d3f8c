//! What is known of each subject, and the indices that are free.

use aya_ebpf::{
    macros::map,
    maps::{Array, Queue},
};
use spo_common::counter::Counter;
use spo_common::subject::{
    MAX, REFERENCE, STATE_ENTERED, STATE_HANDED_OVER, STATE_NONE, STATE_SETUP, STATE_WORKLOAD,
    Subject, UNRECORDED,
};

use crate::count::count;
use crate::kernel::{Access, MountNamespace, Task};
use crate::word::{decrement, increment};
use crate::{emit, room};

/// User space sets the size of this map and of the sets alike.
#[map]
pub static SUBJECTS: Array<Subject> = Array::with_max_entries(4, 0);

/// Indices without an owner; user space fills it.
#[map]
static FREE: Queue<u32> = Queue::with_max_entries(1, 0);

/// Takes a free index and makes it a subject; none left is counted.
#[inline(always)]
pub fn take<A: Access>(task: Task<A>, namespace: MountNamespace<A>, state: u32) -> Option<u32> {
    let Ok(Some(index)) = FREE.pop() else {
        count(Counter::SubjectsFull);
        return None;
    };
    let subject = SUBJECTS.get_ptr_mut(index)?;
    // SAFETY: within the map; nobody else knows the index yet.
    unsafe {
        (*subject).namespace = namespace.id();
        (*subject).inum = namespace.inum();
        (*subject).tgid = task.tgid();
        (*subject).taken_ns = emit::now();
        (*subject).state = state;
    }
    room::count_taken();
    Some(index)
}

/// Gives an index back that nobody saw.
#[inline(always)]
pub fn give_back(index: u32) {
    set_state(index, STATE_NONE);
    if FREE.push(index, 0).is_err() {
        count(Counter::SubjectsFull);
    }
}

/// The state of a subject.
#[inline(always)]
pub fn state(index: u32) -> u32 {
    // SAFETY: within the map.
    SUBJECTS
        .get_ptr(index)
        .map_or(STATE_NONE, |subject| unsafe { (*subject).state })
}

/// Sets the state of a subject.
#[inline(always)]
pub fn set_state(index: u32, state: u32) {
    if let Some(subject) = SUBJECTS.get_ptr_mut(index) {
        // SAFETY: within the map.
        unsafe { (*subject).state = state };
    }
}

/// Notes that a program was executed.
#[inline(always)]
pub fn set_executed(index: u32) {
    if let Some(subject) = SUBJECTS.get_ptr_mut(index) {
        // SAFETY: within the map.
        unsafe { (*subject).executed = 1 };
    }
}

/// Notes that a task ran under a seccomp filter.
#[inline(always)]
pub fn set_filtered(index: u32) {
    if let Some(subject) = SUBJECTS.get_ptr_mut(index) {
        // SAFETY: within the map.
        unsafe { (*subject).filtered = 1 };
    }
}

/// Names the program that a subject is known by: the current task's.
#[inline(always)]
pub fn set_program<A: Access>(index: u32, task: Task<A>) {
    if let Some(subject) = SUBJECTS.get_ptr_mut(index) {
        // SAFETY: within the map.
        unsafe {
            (*subject).tgid = task.tgid();
            (*subject).comm = emit::comm();
            (*subject).first_ns = emit::now();
            (*subject).executed = 1;
        }
    }
}

/// Whether what the subject's tasks create belongs to the subject.
#[inline(always)]
pub fn owns_what_it_creates(index: u32) -> bool {
    matches!(state(index), STATE_WORKLOAD | STATE_ENTERED)
}

/// What to keep of a subject, so that [`referred`] finds out whether the index was given to another one meanwhile.
#[inline(always)]
pub fn reference(index: u32) -> u32 {
    if index == UNRECORDED {
        return UNRECORDED;
    }
    spo_common::subject::reference(index, incarnation(index))
}

/// The subject that is referred to; whoever was released is not recorded.
#[inline(always)]
pub fn referred(reference: u32) -> u32 {
    let index = reference & (MAX - 1);
    if index == UNRECORDED
        || spo_common::subject::reference(index, incarnation(index)) != reference & REFERENCE
    {
        return UNRECORDED;
    }
    index
}

#[inline(always)]
fn incarnation(index: u32) -> u32 {
    // SAFETY: within the map, read at once.
    SUBJECTS.get_ptr(index).map_or(0, |subject| unsafe {
        core::ptr::read_volatile(&raw const (*subject).incarnation)
    })
}

/// Counts a task of a subject that entered a namespace: one more, or one less.
#[inline(always)]
pub fn count_task(index: u32, more: bool) {
    if let Some(subject) = SUBJECTS.get_ptr_mut(index) {
        // SAFETY: within the map.
        unsafe {
            let tasks = &raw mut (*subject).tasks;
            if more {
                increment(tasks);
            } else {
                decrement(tasks);
            }
        }
    }
}

/// Whether the subject still waits for its workload to start.
#[inline(always)]
pub fn is_in_setup(index: u32) -> bool {
    state(index) == STATE_SETUP
}

/// Notes that the workload has a subject of its own now.
#[inline(always)]
pub fn hand_over(index: u32) {
    set_state(index, STATE_HANDED_OVER);
}
