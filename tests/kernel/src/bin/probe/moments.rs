//! Calls at known moments.

use super::calls::{fork, leave, pause, rare, say, wait};

/// Six calls within about a second: in the main thread, another thread, a child, a grandchild, a thread of the grandchild,
/// and the last one in the main thread, just before the end.
pub(crate) fn run(names: &[&str]) {
    let [first, thread, child, grandchild, its_thread, last] = names else {
        panic!("six names")
    };
    rare(first);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pause(150);
            rare(thread);
        });
    });
    wait(fork(|| {
        pause(150);
        rare(child);
        wait(fork(|| {
            pause(150);
            rare(grandchild);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    pause(150);
                    rare(its_thread);
                });
            });
        }));
    }));
    pause(300);
    rare(last);
    leave();
}

/// Makes a call, says so, and waits to be ended, but no longer than some seconds.
pub(crate) fn forever(name: &str, seconds: usize) {
    rare(name);
    say("ready");
    pause(seconds as u64 * 1000);
}
