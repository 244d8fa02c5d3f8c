//! What the programs of `filters` write of tasks and their seccomp filters, and what they are asked.

use core::mem::{offset_of, size_of};

/// Filters of one task that are counted, and read.
pub const MOST_FILTERS: u32 = 64;
/// Instructions of a program that are written at once: with [`ChunkHeader`] they fit into the kernel's buffer, which has
/// eight pages.
pub const CHUNK: u32 = 1023;
/// Bytes of an instruction (`struct sock_filter`).
pub const INSTRUCTION: u32 = 8;
/// Tasks whose filters are asked for at once.
pub const MOST_WANTED: u32 = 4096;

/// A task. The program `tasks` writes one for each.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TaskFilters {
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// When it started, in nanoseconds since boot, suspend included.
    pub started_ns: u64,
    /// Where the kernel keeps its newest filter; 0 if it has none.
    pub newest: u64,
    /// `task_struct.flags`, read after all else.
    pub flags: u32,
    /// How many filters it has; one more than [`MOST_FILTERS`] if there are more.
    pub filters: u32,
}

/// Which part of which filter is wanted of a task: a value of the map `WANTED`, by thread id.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The task's [`TaskFilters::started_ns`].
    pub started_ns: u64,
    /// The task's [`TaskFilters::newest`].
    pub newest: u64,
    /// Which of its filters, from 0, the newest.
    pub filter: u32,
    /// The first instruction.
    pub first: u32,
}

/// What comes in front of a part of a program. The program `programs` writes one for each task that is asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ChunkHeader {
    /// The task's [`TaskFilters::newest`].
    pub newest: u64,
    /// Thread id of the task.
    pub tid: u32,
    /// Which of its filters.
    pub filter: u32,
    /// One of `READ`, `CHANGED`, `NOT_KEPT` and `UNREADABLE`.
    pub outcome: u32,
    /// 1 if the kernel logs what the filter does.
    pub logs: u32,
    /// Instructions of the whole program.
    pub length: u32,
    /// The first instruction here.
    pub first: u32,
    /// Instructions that follow.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
}

impl ChunkHeader {
    /// The instructions follow.
    pub const READ: u32 = 0;
    /// The task ended, or has another newest filter.
    pub const CHANGED: u32 = 1;
    /// The kernel does not keep programs as they were handed in.
    pub const NOT_KEPT: u32 = 2;
    /// The kernel's memory could not be read.
    pub const UNREADABLE: u32 = 3;
}

/// A part of a program, as it is put together.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Chunk {
    /// What is written first.
    pub header: ChunkHeader,
    /// One instruction more than [`CHUNK`], so that a mask bounds what is written.
    pub instructions: [u8; ((CHUNK + 1) * INSTRUCTION) as usize],
}

const _: () = {
    assert!(size_of::<TaskFilters>() == 32);
    assert!(offset_of!(TaskFilters, flags) == 24);
    assert!(size_of::<Wanted>() == 24);
    assert!(offset_of!(Wanted, first) == 20);
    assert!(size_of::<ChunkHeader>() == 40);
    assert!(offset_of!(ChunkHeader, count) == 32);
    assert!(size_of::<Chunk>() == 40 + 8192);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above).
#[expect(unsafe_code, reason = "the type is a value of a BPF map")]
unsafe impl aya::Pod for Wanted {}
