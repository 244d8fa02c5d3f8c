//! What a container runtime does.

use super::calls::{execute, fork, rare, wait};
use super::family::{clone3, unshare_mounts};

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
