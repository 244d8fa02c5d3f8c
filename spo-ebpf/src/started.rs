//! Writes down how a subject began.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user};
use aya_ebpf::{macros::map, maps::Array};
use spo_common::event::{EventKind, Started as Record};
use spo_common::started::{Cgroup, LEAF, Started, TEXT};

use crate::emit;
use crate::kernel::{Access, Probed, Task};
use crate::layout;

/// By the index of the subject.
#[map]
static STARTED: Array<Started> = Array::with_max_entries(1, 0);

/// Writes down the program that the current task executed, and its cgroup. It is not done often: through helpers, which need
/// no pointer whose type the verifier knows.
#[inline(always)]
pub fn write<A: Access>(index: u32, task: Task<A>) {
    let Some(started) = STARTED.get_ptr_mut(index) else {
        return;
    };
    let task = task.pointer();
    // SAFETY: within the map; kernel structures of the types for which the offsets were found.
    unsafe {
        arguments(task, started);
        if layout!(task_cgroups) == 0 {
            return;
        }
        let set: *const u8 = Probed::load(task, layout!(task_cgroups));
        let unified: *const u8 = Probed::load(set, layout!(css_set_dfl_cgrp));
        names(unified, &raw mut (*started).unified);
        if layout!(css_set_controller) != 0 {
            let state: *const u8 = Probed::load(set, layout!(css_set_controller));
            let group: *const u8 = Probed::load(state, layout!(css_cgroup));
            names(group, &raw mut (*started).controller);
        }
    }
}

/// Wakes user space.
#[inline(always)]
pub fn tell(subject: u32) {
    emit::emit(Record {
        header: emit::header::<Record>(EventKind::STARTED, emit::now()),
        subject,
        reserved: 0,
    });
}

/// # Safety
///
/// The current task, and an element of the map.
#[inline(always)]
unsafe fn arguments(task: *const u8, started: *mut Started) {
    if layout!(mm_arg_start) == 0 {
        return;
    }
    // SAFETY: a task and its `mm`; the helper checks what it reads.
    unsafe {
        let memory: *const u8 = Probed::load(task, layout!(task_mm));
        let start: u64 = Probed::load(memory, layout!(mm_arg_start));
        let end: u64 = Probed::load(memory, layout!(mm_arg_end));
        let size = end.wrapping_sub(start);
        let kept = if size > TEXT as u64 {
            TEXT as u64
        } else {
            size
        };
        let into = (&raw mut (*started).arguments).cast();
        let read = bpf_probe_read_user(into, kept as u32, start as *const _);
        (*started).arguments_size = if read == 0 { size as u32 } else { 0 };
    }
}

/// The last two names of a cgroup's path. What cannot be read becomes empty.
///
/// # Safety
///
/// A `struct cgroup`, and a place within the map.
#[inline(always)]
unsafe fn names(group: *const u8, into: *mut Cgroup) {
    // SAFETY: a cgroup, its node, and the one above; the helper checks what it reads, and ends it with zero.
    unsafe {
        let node: *const u8 = Probed::load(group, layout!(cgroup_kn));
        let above: *const u8 = Probed::load(node, layout!(kernfs_parent));
        let leaf: *const u8 = Probed::load(node, layout!(kernfs_name));
        let parent: *const u8 = Probed::load(above, layout!(kernfs_name));
        bpf_probe_read_kernel_str((&raw mut (*into).leaf).cast(), LEAF as u32, leaf.cast());
        bpf_probe_read_kernel_str((&raw mut (*into).parent).cast(), TEXT as u32, parent.cast());
    }
}
