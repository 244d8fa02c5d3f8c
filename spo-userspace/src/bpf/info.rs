//! What the kernel knows of loaded programs.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use aya::programs::ProgramError;

use super::Error;

/// A program that is loaded, by whomever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedProgram {
    /// The kernel's id.
    pub id: u32,
    /// The name in its object, at most 15 bytes.
    pub name: String,
    /// Runs that the kernel skipped, because a run on the same CPU was interrupted.
    pub skipped_runs: u64,
}

/// All programs that are loaded now (needs `CAP_SYS_ADMIN`).
pub fn loaded_programs() -> Result<Vec<LoadedProgram>, Error> {
    let mut programs = Vec::new();
    for info in aya::programs::loaded_programs() {
        let found = info.and_then(|info| Ok((info.fd()?, info)));
        let (fd, info) = match found {
            Ok(found) => found,
            // It went away between its number and its description.
            Err(ProgramError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::NotFound =>
            {
                continue;
            }
            Err(source) => {
                return Err(Error::Program {
                    program: "(any)",
                    source: Box::new(source),
                });
            }
        };
        let name = info.name_as_str().unwrap_or_default().to_owned();
        programs.push(LoadedProgram {
            id: info.id(),
            name,
            skipped_runs: recursion_misses(&fd)?,
        });
    }
    Ok(programs)
}

/// `struct bpf_prog_info` up to `recursion_misses` (`include/uapi/linux/bpf.h`), which `aya`'s own
/// type does not show. Kernels before 5.12 fill less of it, and leave zero.
#[repr(C)]
struct ProgramInfo {
    before: [u64; 24],
    run_time_ns: u64,
    run_count: u64,
    recursion_misses: u64,
}

/// `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Runs of a program that the kernel skipped, because a run on the same CPU was interrupted
/// (`__bpf_trace_run`, `kernel/trace/bpf_trace.c`).
pub(super) fn recursion_misses(program: impl AsFd) -> Result<u64, Error> {
    let mut info = ProgramInfo {
        before: [0; 24],
        run_time_ns: 0,
        run_count: 0,
        recursion_misses: 0,
    };
    let attribute = InfoByFd {
        fd: program.as_fd().as_raw_fd().unsigned_abs(),
        length: u32::try_from(size_of::<ProgramInfo>()).unwrap_or(u32::MAX),
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel reads `attribute` and writes at most `length` bytes to `info`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw const attribute,
            size_of::<InfoByFd>(),
        )
    };
    if result < 0 {
        Err(Error::Info(io::Error::last_os_error()))
    } else {
        Ok(info.recursion_misses)
    }
}
