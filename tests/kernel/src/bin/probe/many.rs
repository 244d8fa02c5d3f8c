//! Many calls, and many processes.

use std::collections::HashMap;
use std::io::Read as _;
use std::time::{Duration, Instant};

use spo_kernel_tests::probe::{RARE, nth};

use super::calls::{execute, fork, number, rare, say, wait};
use super::family::unshare_mounts;

/// Once standard input ends, all rare calls as fast as they go.
pub(crate) fn burst() {
    say("ready");
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("standard input");
    for (_, call) in RARE {
        number(call);
    }
    say("done");
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
    say(&format!(
        "{} {short} {}",
        lives.len(),
        lives[lives.len() / 2].as_micros()
    ));
}

/// `count` containers, `parallel` at a time: each is a process in a mount namespace of its own, which executes a program that makes one of
/// the calls 20,000 times, the next one the next call.
pub(crate) fn churn(count: usize, parallel: usize, names: &[&str]) {
    let mut running = HashMap::new();
    for index in 0..count {
        if running.len() == parallel {
            one_end(&mut running);
        }
        let pid = fork(|| {
            unshare_mounts();
            let error = execute(&["again", names[index % names.len()], "20000"]);
            panic!("exec: {error}");
        });
        running.insert(pid, Instant::now());
    }
    while !running.is_empty() {
        one_end(&mut running);
    }
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
