//! Has the kernel go through the map of mount namespaces.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use aya::Ebpf;
use aya::maps::Map;
use aya::programs::Iter;

use super::kernel::Kernel;
use super::recorder::{program, program_error};
use super::{Error, syscall};

/// The program that is run for each place.
const PLACES: &str = "places";
const NAMESPACES: &str = "NAMESPACES";

/// `union bpf_attr` for `BPF_LINK_CREATE`, which `aya` does not make for an iterator over a map.
#[repr(C)]
struct LinkCreate {
    program_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    info: u64,
    info_length: u32,
}

/// `union bpf_iter_link_info`
#[repr(C)]
struct LinkInfo {
    map_fd: u32,
}

/// `union bpf_attr` for `BPF_ITER_CREATE`.
#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_ITER_CREATE: libc::c_long = 33;
const BPF_TRACE_ITER: u32 = 28;

/// Loads the program.
pub(super) fn load_places(ebpf: &mut Ebpf, kernel: &Kernel) -> Result<(), Error> {
    let places: &mut Iter = program(ebpf, PLACES)?;
    places
        .load("bpf_map_elem", &kernel.btf)
        .map_err(program_error(PLACES))
}

/// The ids of the namespaces in the map that are gone. Words in front of the map lose their force.
pub(super) fn gone(ebpf: &mut Ebpf) -> Result<Vec<u64>, Error> {
    let map = match ebpf.map(NAMESPACES) {
        Some(Map::HashMap(map)) => map.fd().as_fd().as_raw_fd(),
        _ => return Err(Error::Missing(NAMESPACES)),
    };
    let places: &mut Iter = program(ebpf, PLACES)?;
    let program = places.fd().map_err(program_error(PLACES))?;
    let written = read(program.as_fd().as_raw_fd(), map).map_err(Error::Places)?;
    let ids = written.chunks_exact(size_of::<u64>());
    Ok(ids
        .filter_map(|id| Some(u64::from_ne_bytes(id.try_into().ok()?)))
        .collect())
}

fn read(program: RawFd, map: RawFd) -> io::Result<Vec<u8>> {
    let info = LinkInfo {
        map_fd: map.unsigned_abs(),
    };
    let link = LinkCreate {
        program_fd: program.unsigned_abs(),
        target_fd: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        info: (&raw const info) as u64,
        info_length: u32::try_from(size_of::<LinkInfo>()).unwrap_or(u32::MAX),
    };
    // SAFETY: descriptors that the kernel has just given to us.
    let link = unsafe { OwnedFd::from_raw_fd(syscall::call(BPF_LINK_CREATE, &link)?) };
    let iteration = IterCreate {
        link_fd: link.as_raw_fd().unsigned_abs(),
        flags: 0,
    };
    // SAFETY: as above.
    let iteration = unsafe { OwnedFd::from_raw_fd(syscall::call(BPF_ITER_CREATE, &iteration)?) };
    let mut written = Vec::new();
    let mut part = [0; 4096];
    loop {
        match nix::unistd::read(&iteration, &mut part)? {
            0 => return Ok(written),
            size => written.extend(&part[..size]),
        }
    }
}
