//! Waiting until no run of a program goes on that began before.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use super::{Error, syscall};

/// An array with one map in it. The kernel lets a writer of such an array wait until no program uses what was in it before,
/// which is one grace period of RCU (`maybe_wait_bpf_programs`, `kernel/bpf/syscall.c`).
///
/// `membarrier` is no way: it returns at once where one CPU is online, and is refused with `nohz_full`.
pub(super) struct Grace {
    outer: OwnedFd,
    inner: OwnedFd,
}

/// `union bpf_attr` for `BPF_MAP_CREATE`, as far as it is needed.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// `union bpf_attr` for `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct Update {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

impl Grace {
    pub(super) fn new() -> Result<Self, Error> {
        let create = |map_type, inner: RawFd| {
            let attribute = Create {
                map_type,
                key_size: 4,
                value_size: 4,
                max_entries: 1,
                map_flags: 0,
                inner_map_fd: inner.unsigned_abs(),
            };
            let fd = syscall::call(BPF_MAP_CREATE, &attribute).map_err(Error::Grace)?;
            // SAFETY: the kernel has just given it to us.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        };
        let inner = create(BPF_MAP_TYPE_ARRAY, 0)?;
        let outer = create(BPF_MAP_TYPE_ARRAY_OF_MAPS, inner.as_raw_fd())?;
        Ok(Self { outer, inner })
    }

    /// Waits: some milliseconds.
    pub(super) fn wait(&self) -> Result<(), Error> {
        let key = 0_u32;
        let value = self.inner.as_raw_fd();
        let attribute = Update {
            map_fd: self.outer.as_raw_fd().unsigned_abs(),
            padding: 0,
            key: (&raw const key) as u64,
            value: (&raw const value) as u64,
            flags: 0,
        };
        syscall::call(BPF_MAP_UPDATE_ELEM, &attribute)
            .map(drop)
            .map_err(Error::Grace)
    }
}
