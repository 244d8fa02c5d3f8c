//! A tree of processes that runs already when a recording joins it.

use std::io::Read as _;
use std::thread;

use super::calls::{fork, number, pause, rare, say, wait};
use super::family::{fork_with_a_low_id, unshare_mounts};

/// A process with a child, which has a lower process id, and a child of its own. Nobody makes a rare call until standard input, which all of them read, ends; then all
/// do, and so do a thread, a child and its child that begin only then. Threads of the process and of the grandchild
/// wait all the time, in `rt_sigsuspend` and `pause`.
pub(crate) fn run(names: &[&str]) {
    let [own, childs, grandchilds, threads, new_childs, nested] = names else {
        panic!("six names")
    };
    let child = fork_with_a_low_id(|| {
        let grandchild = fork(|| {
            thread::spawn(|| number(libc::SYS_pause));
            go();
            rare(grandchilds);
        });
        go();
        rare(childs);
        wait(grandchild);
    });
    thread::spawn(wait_for_no_signal);
    // Until the others are where they shall be.
    pause(200);
    say("ready");
    go();
    rare(own);
    thread::scope(|scope| {
        scope.spawn(|| rare(threads));
    });
    wait(fork(|| {
        rare(new_childs);
        wait(fork(|| {
            unshare_mounts();
            rare(nested);
        }));
    }));
    wait(child);
}

fn go() {
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("standard input");
}

fn wait_for_no_signal() {
    let none: u64 = u64::MAX;
    #[expect(unsafe_code, reason = "the call must not return")]
    // SAFETY: the kernel reads the mask.
    unsafe {
        libc::syscall(libc::SYS_rt_sigsuspend, &raw const none, size_of::<u64>());
    }
}
