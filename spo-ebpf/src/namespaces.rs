//! From a task to a subject by its mount namespace.
//!
//! The truth is the map `NAMESPACES`; in front of it stand words that describe themselves. A namespace
//! is admitted to the map at its first call. Where it comes from is known by then: the
//! task that changed over announced it by calling `unshare` or `setns`, or the fork hook saw a child in another
//! namespace than its parent's.

use aya_ebpf::{macros::map, maps::HashMap};
use spo_common::counter::Counter;
use spo_common::namespace::{HINTS as HINT_COUNT, Hint, Place};
use spo_common::subject::{
    ENTERED, ENTERING, FIRST, LEAVING, MAX, REFERENCE, STATE_ENTERED, STATE_NONE, STATE_SETUP,
    STATE_WORKLOAD, UNRECORDED,
};

use crate::count::count;
use crate::kernel::{Access, MountNamespace, Task};
use crate::word::Word;
use crate::{capabilities, room, started, subjects, tasks};

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
    /// 1: containers come and go. What is released is used again, and who enters a namespace has a subject of its own.
    pub continuous = CONTINUOUS: u32;
}

/// From the id of a mount namespace to a subject.
#[map]
static NAMESPACES: HashMap<u64, Place> = HashMap::with_max_entries(8192, 0);

static HINTS: [Word; HINT_COUNT as usize] = [const { Word::new(0) }; HINT_COUNT as usize];

/// Counts the changes of places: the words that were written before are void.
/// From 1 on, so that a word that nobody wrote is for no namespace.
static GENERATION: Word = Word::new(1);

const BPF_NOEXIST: u64 = 1;

/// The subject that a task belongs to.
#[inline(always)]
pub fn subject_of<A: Access>(task: Task<A>) -> u32 {
    let subject = subject_here(task);
    if continuous() == 0 || subject == UNRECORDED {
        return subject;
    }
    let word = tasks::get(task.tid());
    if word == 0 {
        return subject;
    }
    apart(task, subject, word)
}

/// The subject that a task belongs to while it is in a call: a word that a later call will be judged by must stay. What
/// was not admitted yet is nobody's.
#[inline(always)]
pub fn subject_amid_call<A: Access>(task: Task<A>) -> u32 {
    let id = task.mount_namespace().id();
    let tag = Hint::tag(id, GENERATION.load() as u32);
    let hint = Hint(HINTS[Hint::index(id) as usize].load());
    let here = match hint.subject(tag) {
        Some(subject) => subject,
        None => known(id).unwrap_or(UNRECORDED),
    };
    if here == UNRECORDED {
        return UNRECORDED;
    }
    let word = tasks::get(task.tid());
    if is_entered(word) {
        return subjects::referred(word);
    }
    if has_just_entered(word, here) {
        return UNRECORDED;
    }
    here
}

/// The subject that a task's mount namespace belongs to.
#[inline(always)]
fn subject_here<A: Access>(task: Task<A>) -> u32 {
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

/// The subject of a task in a recorded namespace that may have come by another way than the namespace's own tasks.
#[inline(never)]
fn apart<A: Access>(task: Task<A>, here: u32, word: u32) -> u32 {
    if is_entered(word) {
        return subjects::referred(word);
    }
    // What it does until it executes a program is the runtime's.
    let (subject, word) = if has_just_entered(word, here) {
        (UNRECORDED, ENTERED)
    } else {
        (here, 0)
    };
    tasks::set(task.tid(), word);
    subject
}

/// Whether a word says that its task is in another's namespace than before.
#[inline(always)]
fn has_just_entered(word: u32, here: u32) -> bool {
    word & ENTERING != 0 && word & REFERENCE != subjects::reference(here)
}

/// Whether a word says that its task entered its namespace.
#[inline(always)]
fn is_entered(word: u32) -> bool {
    word & ENTERED != 0
}

/// The place of a namespace in the map.
#[inline(always)]
pub fn place(id: u64) -> Option<*mut Place> {
    NAMESPACES.get_ptr_mut(id)
}

/// From here on no word counts that was written before. Clears one of them, so that none is left when the generations begin
/// anew.
#[inline(always)]
pub fn advance() {
    GENERATION.increment();
    HINTS[(GENERATION.load() & u64::from(HINT_COUNT - 1)) as usize].store(0);
}

/// The subject of a namespace that has a place.
#[inline(always)]
fn known(id: u64) -> Option<u32> {
    // SAFETY: within the map, read at once. Places change in place, and are removed when the namespace is gone.
    place(id).map(|place| unsafe {
        subjects::referred(core::ptr::read_volatile(&raw const (*place).subject))
    })
}

#[inline(never)]
fn resolve<A: Access>(task: Task<A>, namespace: MountNamespace<A>, id: u64, origin: u32) -> u32 {
    if let Some(subject) = known(id) {
        return subject;
    }
    if id == 0 {
        count(Counter::Unresolved);
        return UNRECORDED;
    }
    let (subject, taken) = if origin & LEAVING != 0 {
        if continuous() != 0 {
            // From here on its subject is the namespace's.
            tasks::set(task.tid(), UNRECORDED);
        }
        created_by(subjects::referred(origin), task, namespace)
    } else if namespace.inum() == target_inum()
        || (record_existing() != 0 && namespace.inum() != host_inum())
    {
        (FIRST, false)
    } else {
        (UNRECORDED, false)
    };
    let place = Place {
        pointer: namespace.pointer(),
        subject: subjects::reference(subject),
        reserved: 0,
    };
    match NAMESPACES.insert(id, place, BPF_NOEXIST) {
        Ok(()) => {
            room::count_admitted();
            subject
        }
        Err(error) => {
            if taken {
                subjects::give_back(subject);
            }
            if let Some(subject) = known(id) {
                // Another CPU was first.
                return subject;
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

/// A task of a subject calls `unshare` (`creates`) or `setns`: a later call will be judged by it.
#[inline(always)]
pub fn on_change<A: Access>(task: Task<A>, subject: u32, creates: bool) {
    let tid = task.tid();
    let flag = if creates { LEAVING } else { ENTERING };
    if continuous() != 0 {
        let word = tasks::get(tid);
        if is_entered(word) && subject_here(task) != UNRECORDED {
            // It stays what it is, unless its next call comes from a new namespace.
            tasks::set(tid, if creates { word | flag } else { word });
            return;
        }
    }
    tasks::set(tid, flag | subjects::reference(subject));
}

/// A child that starts in another namespace than its parent's announces that namespace.
#[inline(always)]
pub fn on_fork<A: Access>(parent: Task<A>, child: Task<A>) {
    let namespace = child.mount_namespace();
    let id = namespace.id();
    let tid = child.tid();
    if id == parent.mount_namespace().id() {
        let mut word = UNRECORDED;
        if continuous() != 0 {
            let parents = tasks::get(parent.tid());
            if is_entered(parents) {
                word = parents & !LEAVING;
                let subject = subjects::referred(word);
                if subject != UNRECORDED {
                    subjects::count_task(subject, true);
                }
            }
        }
        if tasks::get(tid) != word {
            tasks::set(tid, word);
        }
    } else {
        let origin = LEAVING | subjects::reference(subject_of(parent));
        tasks::set(tid, origin);
        resolve(child, namespace, id, origin);
    }
}

/// A task ends.
#[inline(always)]
pub fn on_exit<A: Access>(task: Task<A>) {
    if continuous() == 0 {
        return;
    }
    let word = tasks::get(task.tid());
    if is_entered(word) {
        let subject = subjects::referred(word);
        if subject != UNRECORDED {
            subjects::count_task(subject, false);
        }
    }
}

/// The first program that the container's first task executes is the workload.
///
/// That task is the first of its pid namespace, or, where the pid namespace is shared, a child of somebody outside
/// the mount namespace (the runtime). Hooks and helpers are children of that task, and who entered is told apart.
#[inline(always)]
pub fn on_exec<A: Access>(task: Task<A>) {
    let namespace = task.mount_namespace();
    let id = namespace.id();
    let setup = subject_here(task);
    if continuous() != 0 && setup != UNRECORDED {
        let word = tasks::get(task.tid());
        if word != 0 {
            apart(task, setup, word);
        }
        let word = tasks::get(task.tid());
        if is_entered(word) {
            if word & REFERENCE == 0 {
                begin_entered(task, namespace);
            }
            return;
        }
    }
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
        match subjects::take(task, namespace, STATE_NONE) {
            Some(subject) => subject,
            None => return,
        }
    };
    // In place: replacing the entry would let its memory serve another namespace while somebody still reads it.
    let Some(place) = place(id) else {
        count(Counter::NamespacesFull);
        if shared() == 0 {
            subjects::give_back(workload);
        }
        return;
    };
    if shared() == 0 {
        begin(workload, task, STATE_WORKLOAD);
    }
    // SAFETY: within the map; stored at once.
    unsafe { core::ptr::write_volatile(&raw mut (*place).subject, subjects::reference(workload)) };
    subjects::hand_over(setup);
    // The new entry is in the map; from here on no older word counts.
    advance();
    if continuous() != 0 {
        started::tell(workload);
    }
}

/// The first program that a task executes after it entered a namespace.
#[inline(always)]
fn begin_entered<A: Access>(task: Task<A>, namespace: MountNamespace<A>) {
    let Some(subject) = subjects::take(task, namespace, STATE_NONE) else {
        return;
    };
    begin(subject, task, STATE_ENTERED);
    subjects::count_task(subject, true);
    tasks::set(task.tid(), ENTERED | subjects::reference(subject));
    started::tell(subject);
}

/// Writes down all that is to be known of a subject before its state says that it is known.
#[inline(always)]
fn begin<A: Access>(subject: u32, task: Task<A>, state: u32) {
    subjects::set_program(subject, task);
    if continuous() != 0 {
        started::write(subject, task);
        capabilities::begin(subject, task);
    }
    subjects::set_state(subject, state);
}
