//! The system call `bpf`, for the few commands that `aya` lacks.

use std::io;
use std::os::fd::RawFd;

/// Makes the call with a part of `union bpf_attr`, in which every address is valid for the command.
pub(super) fn call<T>(command: libc::c_long, attribute: &T) -> io::Result<RawFd> {
    // SAFETY: the kernel reads the attribute, and what it points to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const *attribute,
            size_of::<T>(),
        )
    };
    RawFd::try_from(result)
        .ok()
        .filter(|result| *result >= 0)
        .ok_or_else(io::Error::last_os_error)
}
