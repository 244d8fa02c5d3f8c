//! What a container runtime does.

use nix::sched::{CloneFlags, setns, unshare};

use super::calls::{execute, fork, rare, wait};
use super::family::{clone3, unshare_mounts};

/// Enters a namespace that it is in already, and makes a network namespace; a child makes a call, and another one executes a
/// program. None of it changes the mount namespace.
pub(crate) fn rejoin(mine: &str, childs: &str) {
    let here = std::fs::File::open("/proc/self/ns/net").expect("/proc is mounted");
    setns(&here, CloneFlags::CLONE_NEWNET).expect("setns");
    rare(mine);
    unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
    setns(&here, CloneFlags::CLONE_NEWNET).expect("setns");
    wait(fork(|| {
        let error = execute(&["one", childs]);
        panic!("exec: {error}");
    }));
}

/// A process gets into a new mount namespace, prepares it, lets a hook run in it, and executes the workload.
pub(crate) fn container(how: &str, setup: &str, hook: &str, workload: &[&str]) {
    let inside = || {
        rare(setup);
        wait(fork(|| {
            rare(setup);
            let error = execute(&["chain", hook, hook]);
            panic!("exec: {error}");
        }));
        let error = execute(workload);
        panic!("exec: {error}");
    };
    wait(match how {
        "unshare" => fork(|| {
            rare(setup);
            unshare_mounts();
            inside();
        }),
        "clone" => clone3(libc::CLONE_NEWNS, inside),
        _ => panic!("{how}: unshare or clone"),
    });
}
