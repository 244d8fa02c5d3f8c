//! Calls past every library.

use std::io::Write as _;

use spo_kernel_tests::probe;

/// Makes a rare call.
pub(crate) fn rare(name: &str) {
    number(probe::number(name));
}

/// Makes the call with a number, with -1 for every argument; returns what the kernel answered.
pub(crate) fn number(number: libc::c_long) -> libc::c_long {
    const ALL: libc::c_long = -1;
    #[expect(unsafe_code, reason = "no library makes such calls")]
    // SAFETY: with these arguments none of the calls that the program makes touches memory.
    unsafe {
        libc::syscall(number, ALL, ALL, ALL, ALL, ALL, ALL)
    }
}

/// Ends the process at once: nothing is called between the last call and this one.
pub(crate) fn leave() -> ! {
    #[expect(unsafe_code, reason = "libraries clean up before they end a process")]
    // SAFETY: nothing is expected of the process any more.
    unsafe {
        libc::syscall(libc::SYS_exit_group, 0);
    }
    unreachable!("a process ended, and went on")
}

/// Asks for a mode of seccomp (1 is the strict one), and ends the thread, which every mode permits.
pub(crate) fn strict(mode: usize) -> ! {
    #[expect(unsafe_code, reason = "no library does so")]
    // SAFETY: the process makes no other call any more.
    unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, mode);
        libc::syscall(libc::SYS_exit, 0);
    }
    unreachable!("a thread ended, and went on")
}

/// Starts a child that does something and ends; returns its process id.
pub(crate) fn fork(child: impl FnOnce()) -> libc::pid_t {
    #[expect(unsafe_code, reason = "the child goes on in the same program")]
    // SAFETY: no other thread of this program holds a lock that the child takes.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        child();
        leave();
    }
    pid
}

/// Waits for a child, which must end well.
pub(crate) fn wait(pid: libc::pid_t) {
    let mut status = 0;
    #[expect(
        unsafe_code,
        reason = "the child was not started by the standard library"
    )]
    // SAFETY: the kernel writes the status.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    assert_eq!(waited, pid, "waitpid: {}", std::io::Error::last_os_error());
    assert_eq!(status, 0, "process {pid} ended with status {status:#x}");
}

/// Tells the test something.
pub(crate) fn say(what: &str) {
    let line = format!("{what}\n");
    std::io::stdout()
        .write_all(line.as_bytes())
        .expect("standard output");
}

/// A number among the arguments.
pub(crate) fn size(text: &str) -> usize {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is not a number"))
}

/// Lets time pass.
pub(crate) fn pause(milliseconds: u64) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the passing of time is what is tested"
    )]
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}

/// Executes this program anew, and does not return if that works.
pub(crate) fn execute(arguments: &[&str]) -> std::io::Error {
    use std::os::unix::process::CommandExt as _;
    std::process::Command::new("/proc/thread-self/exe")
        .args(arguments)
        .exec()
}
