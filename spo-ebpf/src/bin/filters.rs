//! Which seccomp filters tasks have, and what is in them.
//!
//! Both programs go through all tasks once a read. `tasks` tells of each which filters it has; tasks with the same newest
//! filter have the same filters. `programs` tells what is in a filter, a part of it at a time, of the tasks that it is asked for.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

use core::ffi::c_void;
use core::ptr::{from_ref, read_volatile, write_volatile};

use aya_ebpf::helpers::{bpf_seq_write, generated::bpf_probe_read_kernel};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use spo_common::filter::{
    CHUNK, Chunk, ChunkHeader, INSTRUCTION, MOST_FILTERS, MOST_WANTED, TaskFilters, Wanted,
};
use spo_ebpf::kernel::{Access, Probed, Task};
use spo_ebpf::layout;

/// By thread id.
#[map]
static WANTED: HashMap<u32, Wanted> = HashMap::with_max_entries(MOST_WANTED, 0);

/// Where a part of a program is put together: the kernel runs an iterator's program for one task at a time.
#[map]
static PART: Array<Chunk> = Array::with_max_entries(1, 0);

/// A mask for the bytes of a [`CHUNK`].
const MASK: u32 = (CHUNK + 1) * INSTRUCTION - 1;

/// `struct bpf_iter__task`: the task and the file of the iteration; no task at the end. An iteration begins with its file
/// (`struct bpf_iter_meta`).
#[inline(always)]
fn item(ctx: *mut c_void) -> Option<(*const u8, *mut c_void)> {
    // SAFETY: the context holds two pointers.
    let (task, file) = unsafe {
        let pointers = ctx.cast::<*const u8>();
        let iteration = (*pointers).cast::<*mut c_void>();
        (*pointers.add(1), *iteration)
    };
    (!task.is_null()).then_some((task, file))
}

/// Reads at an offset of a kernel structure.
#[inline(always)]
fn load<T: Copy>(base: u64, offset: u32) -> T {
    // SAFETY: the helper checks what it reads; what cannot be read is zero.
    unsafe { Probed::load(base as *const u8, offset) }
}

/// The newest filter of a task.
#[inline(always)]
fn newest(task: *const u8) -> u64 {
    load(task as u64, layout!(task_seccomp_filter))
}

/// Tells which filters each task has.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn tasks(ctx: *mut c_void) -> i32 {
    let Some((pointer, file)) = item(ctx) else {
        return 0;
    };
    let task = Task::<Probed>::from_argument(pointer);
    let newest = newest(pointer);
    let (mut filter, mut filters) = (newest, 0);
    for _ in 0..=MOST_FILTERS {
        if filter == 0 {
            break;
        }
        filters += 1;
        filter = load(filter, layout!(seccomp_filter_prev));
    }
    let told = TaskFilters {
        tgid: task.tgid(),
        tid: task.tid(),
        started_ns: load(pointer as u64, layout!(task_start)),
        newest,
        // A task that ends is marked before it loses its filters.
        flags: load(pointer as u64, layout!(task_flags)),
        filters,
    };
    // SAFETY: the iteration's file, and a whole record. A full buffer makes the kernel run this task again.
    unsafe {
        bpf_seq_write(
            file.cast(),
            from_ref(&told).cast(),
            size_of::<TaskFilters>() as u32,
        )
    };
    0
}

/// Tells what is in the filters that are asked for.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn programs(ctx: *mut c_void) -> i32 {
    let Some((pointer, file)) = item(ctx) else {
        return 0;
    };
    let tid = Task::<Probed>::from_argument(pointer).tid();
    // SAFETY: nobody changes the map while it is gone through.
    let Some(wanted) = (unsafe { WANTED.get(tid) }) else {
        return 0;
    };
    let Some(part) = PART.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: an element of the map, which no other run has.
    let part = unsafe { &mut *part };
    part.header = ChunkHeader {
        newest: wanted.newest,
        tid,
        filter: wanted.filter,
        outcome: ChunkHeader::CHANGED,
        logs: 0,
        length: 0,
        first: wanted.first,
        count: 0,
        reserved: 0,
    };
    let is_same = || {
        newest(pointer) == wanted.newest
            && load::<u64>(pointer as u64, layout!(task_start)) == wanted.started_ns
    };
    if wanted.newest != 0 && is_same() {
        read(part, wanted);
        // As long as a task has a filter, nobody frees it, nor those before it.
        if !is_same() {
            part.header.outcome = ChunkHeader::CHANGED;
        }
    }
    // SAFETY: the iteration's file, and no more than the element of the map holds.
    unsafe {
        let header = (&raw mut part.header).cast();
        bpf_seq_write(file.cast(), header, size_of::<ChunkHeader>() as u32);
        let bytes = (read_volatile(&raw const part.header.count) * INSTRUCTION) & MASK;
        if part.header.outcome == ChunkHeader::READ {
            bpf_seq_write(file.cast(), part.instructions.as_mut_ptr().cast(), bytes);
        }
    }
    0
}

/// Reads a part of a filter of a task that has it.
#[inline(always)]
fn read(part: &mut Chunk, wanted: &Wanted) {
    let mut filter = wanted.newest;
    for step in 0..MOST_FILTERS {
        if step >= wanted.filter || filter == 0 {
            break;
        }
        filter = load(filter, layout!(seccomp_filter_prev));
    }
    let program: u64 = load(filter, layout!(seccomp_filter_prog));
    part.header.logs = u32::from(load::<u8>(filter, layout!(seccomp_filter_log)) != 0);
    let original: u64 = load(program, layout!(bpf_prog_orig_prog));
    if program == 0 || original == 0 {
        part.header.outcome = if program == 0 {
            ChunkHeader::UNREADABLE
        } else {
            ChunkHeader::NOT_KEPT
        };
        return;
    }
    let length = u32::from(load::<u16>(original, layout!(sock_fprog_len)));
    let instructions: u64 = load(original, layout!(sock_fprog_filter));
    let rest = length.saturating_sub(wanted.first);
    let count = if rest > CHUNK { CHUNK } else { rest };
    part.header.length = length;
    // SAFETY: the helper checks what it reads, and writes no more than the element of the map holds. Through memory, so that
    // the compiler does not take the mask for idle: the verifier needs it.
    let failed = unsafe {
        write_volatile(&raw mut part.header.count, count);
        let bytes = (read_volatile(&raw const part.header.count) * INSTRUCTION) & MASK;
        let source = instructions + u64::from(wanted.first) * u64::from(INSTRUCTION);
        bpf_probe_read_kernel(
            part.instructions.as_mut_ptr().cast(),
            bytes,
            source as *const c_void,
        )
    };
    part.header.outcome = if failed == 0 {
        ChunkHeader::READ
    } else {
        ChunkHeader::UNREADABLE
    };
}

#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
