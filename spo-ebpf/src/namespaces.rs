//! From a task to a subject by its mount namespace.
//!
//! The truth is the map `NAMESPACES`; in front of it stand words that describe themselves. A namespace
//! is admitted to the map at its first call. Where it comes from is known by then: the
//! task that changed over announced it by calling `unshare` or `setns`, or the fork hook saw a child in another
//! namespace than its parent's.

use aya_ebpf::{macros::map, maps::HashMap};
use spo_common::counter::Counter;
use spo_common::namespace::{HINTS as HINT_COUNT, Hint};
use spo_common::subject::{ENTERING, FIRST, LEAVING, MAX, STATE_SETUP, STATE_WORKLOAD, UNRECORDED};

use crate::count::count;
use crate::kernel::{Access, MountNamespace, Task};
use crate::word::Word;
use crate::{subjects, tasks};

crate::globals! {
    /// The namespace to record, by its inode number (user space holds it open); 0 for none.
    target_inum = TARGET_INUM: u32;
    /// The namespace that is not recorded although others of unknown origin are, by its inode number.
    host_inum = HOST_INUM: u32;
    /// 1: record what was there before the recording.
    record_existing = RECORD_EXISTING: u32;
    /// 1: record what comes into being.
    record_new = RECORD_NEW: u32;
    /// 1: one subject for the workloads of all namespaces.
    shared = SHARED: u32;
}

/// From the id of a mount namespace to a subject.
#[map]
static NAMESPACES: HashMap<u64, u32> = HashMap::with_max_entries(8192, 0);

static HINTS: [Word; HINT_COUNT as usize] = [const { Word::new(0) }; HINT_COUNT as usize];

/// Counts the workloads that started: the words that were written before are void.
/// From 1 on, so that a word that nobody wrote is for no namespace.
static GENERATION: Word = Word::new(1);

const BPF_NOEXIST: u64 = 1;

/// The subject that a task's mount namespace belongs to.
#[inline(always)]
pub fn subject_of<A: Access>(task: Task<A>) -> u32 {
    let namespace = task.mount_namespace();
    let id = namespace.id();
    // Read before the map is: a word must not claim to be newer than what it was made from.
    let tag = Hint::tag(id, GENERATION.load() as u32);
    let word = &HINTS[Hint::index(id) as usize];
    if let Some(subject) = Hint(word.load()).subject(tag) {
        return subject;
    }
    let subject = resolve(task, namespace, id, tasks::get(task.tid()));
    if id != 0 {
        word.store(tag | u64::from(subject & (MAX - 1)));
    }
    subject
}

#[inline(never)]
fn resolve<A: Access>(task: Task<A>, namespace: MountNamespace<A>, id: u64, origin: u32) -> u32 {
    // SAFETY: a copy is taken at once; entries are never removed.
    if let Some(subject) = unsafe { NAMESPACES.get(id) } {
        return *subject;
    }
    if id == 0 {
        count(Counter::Unresolved);
        return UNRECORDED;
    }
    let created = origin & u32::from(LEAVING) != 0 && origin != u32::from(ENTERING);
    let (subject, taken) = if created {
        created_by(origin & (MAX - 1), task, namespace)
    } else if namespace.inum() == target_inum()
        || (record_existing() != 0 && namespace.inum() != host_inum())
    {
        (FIRST, false)
    } else {
        (UNRECORDED, false)
    };
    match NAMESPACES.insert(id, subject, BPF_NOEXIST) {
        Ok(()) => subject,
        Err(error) => {
            if taken {
                subjects::give_back(subject);
            }
            // SAFETY: as above.
            if let Some(subject) = unsafe { NAMESPACES.get(id) } {
                // Another CPU was first.
                return *subject;
            }
            let _ = error;
            if subject == UNRECORDED {
                return UNRECORDED;
            }
            count(Counter::NamespacesFull);
            if taken { UNRECORDED } else { subject }
        }
    }
}

/// The subject of a namespace that a task of subject `origin` made, and whether it is a fresh one.
#[inline(always)]
fn created_by<A: Access>(origin: u32, task: Task<A>, namespace: MountNamespace<A>) -> (u32, bool) {
    if subjects::owns_what_it_creates(origin) {
        return (origin, false);
    }
    if record_new() == 0 {
        return (UNRECORDED, false);
    }
    match subjects::take(task, namespace, STATE_SETUP) {
        Some(subject) => (subject, true),
        None => (UNRECORDED, false),
    }
}

/// A child that starts in another namespace than its parent's announces that namespace.
#[inline(always)]
pub fn on_fork<A: Access>(parent: Task<A>, child: Task<A>) {
    let namespace = child.mount_namespace();
    let id = namespace.id();
    if id == parent.mount_namespace().id() {
        if tasks::get(child.tid()) != UNRECORDED {
            tasks::set(child.tid(), UNRECORDED);
        }
        return;
    }
    let origin = u32::from(LEAVING) | subject_of(parent);
    tasks::set(child.tid(), origin);
    resolve(child, namespace, id, origin);
}

/// The first program that the container's first task executes is the workload.
///
/// That task is the first of its pid namespace, or, where the pid namespace is shared, a child of somebody outside
/// the mount namespace (the runtime). Hooks and helpers are children of that task.
#[inline(always)]
pub fn on_exec<A: Access>(task: Task<A>) {
    let namespace = task.mount_namespace();
    let id = namespace.id();
    let setup = subject_of(task);
    if !subjects::is_in_setup(setup) {
        return;
    }
    subjects::set_executed(setup);
    if !task.is_namespace_init() && task.real_parent().mount_namespace().id() == id {
        return;
    }
    let workload = if shared() != 0 {
        FIRST
    } else {
        match subjects::take(task, namespace, STATE_WORKLOAD) {
            Some(subject) => subject,
            None => return,
        }
    };
    // In place: replacing the entry would let its memory serve another namespace while somebody still reads it.
    let Some(entry) = NAMESPACES.get_ptr_mut(id) else {
        count(Counter::NamespacesFull);
        return;
    };
    // SAFETY: within the map; stored at once.
    unsafe { core::ptr::write_volatile(entry, workload) };
    if shared() == 0 {
        subjects::set_program(workload, task);
    }
    subjects::hand_over(setup);
    // The new entry is in the map; from here on no older word counts.
    GENERATION.increment();
}
