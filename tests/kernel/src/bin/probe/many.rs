//! Many calls, and many processes.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use spo_kernel_tests::probe::{RARE, nth};

use super::calls::{execute, fork, number, rare, wait};

/// All rare calls as fast as they go.
pub(crate) fn burst() {
    for (_, call) in RARE {
        number(call);
    }
}

/// `count` processes, `parallel` at a time. The `index`th makes the `index`th rare call and ends; every other one executes a program
/// in between. Says how long they lived.
pub(crate) fn swarm(count: usize, parallel: usize) {
    let mut running = HashMap::new();
    let mut lives = Vec::new();
    for index in 0..count {
        if running.len() == parallel {
            lives.push(one_end(&mut running));
        }
        let began = Instant::now();
        let pid = fork(|| {
            if index.is_multiple_of(2) {
                rare(nth(index));
            } else {
                let error = execute(&["one", nth(index)]);
                panic!("exec: {error}");
            }
        });
        running.insert(pid, began);
    }
    while !running.is_empty() {
        lives.push(one_end(&mut running));
    }
    lives.sort_unstable();
    let short = lives
        .iter()
        .filter(|life| **life < Duration::from_millis(5))
        .count();
    let line = format!(
        "{} {short} {}\n",
        lives.len(),
        lives[lives.len() / 2].as_micros()
    );
    std::io::stdout()
        .write_all(line.as_bytes())
        .expect("standard output");
}

/// Waits for any child; returns how long it lived.
fn one_end(running: &mut HashMap<libc::pid_t, Instant>) -> Duration {
    let mut status = 0;
    #[expect(
        unsafe_code,
        reason = "the children were not started by the standard library"
    )]
    // SAFETY: the kernel writes the status.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, 0) };
    assert_eq!(status, 0, "process {pid} ended with status {status:#x}");
    running.remove(&pid).expect("a child").elapsed()
}

/// A process with two children, each with two children, and so on: `2^(depth+1) - 1` of them, all alive at once. The
/// leaves make the calls.
pub(crate) fn bomb(depth: usize) {
    branch(depth, 0);
}

fn branch(left: usize, path: usize) {
    if left == 0 {
        rare(nth(path));
        return;
    }
    let children = [0, 1].map(|side| fork(|| branch(left - 1, path * 2 + side)));
    children.into_iter().for_each(wait);
}
