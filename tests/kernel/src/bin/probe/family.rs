//! Descendants of every kind.

use std::arch::asm;
use std::mem::size_of;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, getppid, setsid};
use spo_kernel_tests::probe;

use super::calls::{fork, leave, pause, rare, wait};

const NOBODY: libc::uid_t = 65534;

/// One call by each kind of descendant.
pub(crate) fn run(names: &[&str]) {
    let [
        forked,
        vforked,
        spawned,
        cloned,
        sibling,
        thread,
        threads_child,
        first_of_namespace,
        in_namespace,
        nobody,
        nobodys_child,
    ] = names
    else {
        panic!("eleven names")
    };
    wait(fork(|| rare(forked)));
    wait(vfork(vforked));
    let spawned = Command::new("/proc/self/exe")
        .args(["one", spawned])
        .status();
    assert!(spawned.is_ok_and(|status| status.success()));
    wait(clone3(0, || rare(cloned)));
    // This one is a child of the parent, which has to wait for it.
    let parent = getppid();
    clone3(libc::CLONE_PARENT, || {
        assert_eq!(getppid(), parent);
        rare(sibling);
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            rare(thread);
            wait(fork(|| rare(threads_child)));
        });
    });
    wait(clone3(libc::CLONE_NEWPID, || {
        assert_eq!(Pid::this().as_raw(), 1);
        rare(first_of_namespace);
        wait(fork(|| rare(in_namespace)));
    }));
    wait(fork(|| {
        become_nobody();
        rare(nobody);
        wait(fork(|| rare(nobodys_child)));
    }));
}

/// The process ends at once, and leaves a daemon behind, which makes its call, and a file, once that has happened.
pub(crate) fn daemon(file: &str, name: &str) {
    let first = Pid::this();
    wait(fork(|| {
        setsid().expect("setsid");
        fork(|| {
            while nix::sys::signal::kill(first, None).is_ok() {
                pause(5);
            }
            pause(300);
            std::fs::write(file, "").expect("a file");
            rare(name);
        });
    }));
    leave();
}

/// What `fork` does, by the call that the C library leaves to threads.
pub(crate) fn clone3(flags: libc::c_int, child: impl FnOnce()) -> libc::pid_t {
    let arguments: [u64; 8] = {
        let flags = u64::from(flags.cast_unsigned());
        let signal = if flags & u64::from(libc::CLONE_PARENT.cast_unsigned()) == 0 {
            libc::SIGCHLD
        } else {
            0
        };
        [flags, 0, 0, 0, u64::from(signal.cast_unsigned()), 0, 0, 0]
    };
    #[expect(unsafe_code, reason = "the C library has no function for it")]
    // SAFETY: `struct clone_args` is eight 64-bit words, and the child has a copy of the memory.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of::<[u64; 8]>()) };
    assert!(pid >= 0, "clone3: {}", std::io::Error::last_os_error());
    if pid == 0 {
        child();
        leave();
    }
    libc::pid_t::try_from(pid).expect("a process id")
}

/// A child whose process id is lower than that of its parent, as it happens when the kernel begins from 1 again.
pub(crate) fn fork_with_a_low_id(child: impl FnOnce()) -> libc::pid_t {
    for id in 300..Pid::this().as_raw() {
        let signal = u64::from(libc::SIGCHLD.cast_unsigned());
        let arguments = [0, 0, 0, 0, signal, 0, 0, 0, (&raw const id) as u64, 1];
        #[expect(unsafe_code, reason = "the C library has no function for it")]
        // SAFETY: as in `clone3`, with `set_tid` and `set_tid_size` besides.
        let pid = unsafe {
            libc::syscall(
                libc::SYS_clone3,
                arguments.as_ptr(),
                size_of_val(&arguments),
            )
        };
        if pid == 0 {
            child();
            leave();
        }
        if pid > 0 {
            return id;
        }
        let error = std::io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST), "clone3: {error}");
    }
    // No id is free: the tree is a common one.
    fork(child)
}

/// A child that runs in the memory and on the stack of its parent, which waits: all that it does is a call.
fn vfork(name: &str) -> libc::pid_t {
    let mut pid = libc::SYS_vfork;
    #[expect(unsafe_code, reason = "the child must not return from a function")]
    // SAFETY: the child touches registers only, which are its own.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rax, r12",
            "mov rdi, -1",
            "mov rsi, -1",
            "mov rdx, -1",
            "mov r10, -1",
            "mov r8, -1",
            "mov r9, -1",
            "syscall",
            "mov eax, 60",
            "xor edi, edi",
            "syscall",
            "ud2",
            "2:",
            inout("rax") pid,
            in("r12") probe::number(name),
            out("rdi") _,
            out("rsi") _,
            out("rdx") _,
            out("r10") _,
            out("r8") _,
            out("r9") _,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    assert!(pid > 0, "vfork: {pid}");
    libc::pid_t::try_from(pid).expect("a process id")
}

fn become_nobody() {
    #[expect(
        unsafe_code,
        reason = "the call, and not what the C library makes of it"
    )]
    // SAFETY: no pointers.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    assert_eq!(result, 0, "setresuid: {}", std::io::Error::last_os_error());
}

/// Enters a mount namespace of its own.
pub(crate) fn unshare_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
}
