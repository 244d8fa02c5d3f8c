//! What a container runtime needs for itself.

/// The calls that runc and crun make between loading a container's filter and executing its
/// program, and to keep the container running. They belong to every profile that a container
/// starts under, whatever its workload does.
pub const BASE_SYSCALLS: [&str; 84] = [
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "clone",
    "close",
    "close_range",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "exit_group",
    "faccessat2",
    "fchdir",
    "fchmodat",
    "fchown",
    "fchownat",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "ioctl",
    "keyctl",
    "lseek",
    "mkdirat",
    "mknodat",
    "mmap",
    "mount",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "openat",
    "openat2",
    "pipe2",
    "pivot_root",
    "prctl",
    "pread64",
    "pselect6",
    "read",
    "readlink",
    "readlinkat",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "seccomp",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "sethostname",
    "setns",
    "setresgid",
    "setresuid",
    "setsid",
    "setuid",
    "sigaltstack",
    "statfs",
    "statx",
    "symlinkat",
    "tgkill",
    "umask",
    "umount2",
    "unlinkat",
    "unshare",
    "utimensat",
    "write",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::arch::Arch;
    use crate::profile::syscalls;

    #[test]
    fn sorted_unique_and_known() {
        assert!(BASE_SYSCALLS.is_sorted_by(|left, right| left < right));
        for name in BASE_SYSCALLS {
            assert!(syscalls::number(Arch::X86_64, name).is_some(), "{name}");
        }
    }

    /// The set as the reference lists it, so that no name is lost in an edit, and what we add: runc 1.1.12 and what
    /// distributions made of older ones ask for the working directory under the filter (`verifyCwd`,
    /// `libcontainer/init_linux.go`), and start no container without.
    #[test]
    fn is_the_documented_set() {
        let documented = "access arch_prctl brk capget capset chdir chmod chown clone close \
            close_range dup2 dup3 epoll_create1 epoll_ctl epoll_pwait execve exit_group \
            faccessat2 fchdir fchmodat fchown fchownat fcntl fstat fstatfs futex getcwd \
            getdents64 \
            getegid geteuid getgid getpid getppid gettid getuid ioctl keyctl lseek mkdirat \
            mknodat mmap mount mprotect munmap nanosleep newfstatat openat openat2 pipe2 \
            pivot_root prctl pread64 pselect6 read readlink readlinkat rt_sigaction \
            rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield seccomp \
            set_robust_list set_tid_address setgid setgroups sethostname setns setresgid \
            setresuid setsid setuid sigaltstack statfs statx symlinkat tgkill umask umount2 \
            unlinkat unshare utimensat write";
        assert!(documented.split_whitespace().eq(BASE_SYSCALLS));
    }
}
