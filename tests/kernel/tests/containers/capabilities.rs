//! Which capabilities are used.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use spo::event::{Checks, Started};
use spo_kernel_tests::tier;

use super::node::{Node, PROBE, until};

const CHOWN: u32 = 0;
const SETUID: u32 = 7;
const SYS_CHROOT: u32 = 18;
const SYS_ADMIN: u32 = 21;
const MKNOD: u32 = 27;

/// What a container uses, as far as this kernel tells; the one that does all the steps, and one that does none.
fn used(node: &mut Node, steps: &[&str]) -> (Started, BTreeSet<u32>) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("a name");
    let status = Command::new("unshare")
        .args(["-m", PROBE, "privileged", folder])
        .args(steps)
        .status();
    assert!(status.expect("unshare starts").success());
    let words: Vec<_> = [PROBE, "privileged", folder]
        .into_iter()
        .chain(steps.iter().copied())
        .collect();
    let started = node.wait_for(&words);
    let used = of(node, &started);
    (started, used)
}

fn of(node: &Node, started: &Started) -> BTreeSet<u32> {
    let observed = node.containers.observe(started.id).expect("it is recorded");
    let bits = observed.capabilities;
    let mut used: BTreeSet<_> = (0..64).filter(|number| bits >> number & 1 == 1).collect();
    match node.containers.checks() {
        Checks::Used => {}
        // The kernel asks for it when memory is mapped.
        Checks::Asked if !tier::is_vm() => assert!(used.remove(&SYS_ADMIN)),
        checks => panic!("{checks:?}"),
    }
    used
}

/// What is used, and neither what is only asked for nor what was used before, by whoever made the container.
#[test]
fn what_is_used_is_told() {
    let mut node = Node::start(|_| ());
    let (first, all) = used(&mut node, &["chown", "mknod", "setuid", "no-chroot"]);
    assert_eq!(all, [CHOWN, SETUID, MKNOD].into());
    let (_, one) = used(&mut node, &["mknod"]);
    assert_eq!(one, [MKNOD].into());
    let (_, empty) = used(&mut node, &[]);
    assert_eq!(empty, [].into());
    // They are told apart, and what is released is cleared.
    assert_eq!(of(&node, &first), all);
    let told: Vec<_> = node.told.iter().map(|one| one.id).collect();
    node.containers.sweep(&told).expect("a sweep");
    let (_, one) = used(&mut node, &["chroot"]);
    assert_eq!(one, [SYS_CHROOT].into());
    node.assert_nothing_lost();
}

/// Whoever makes a user namespace has all capabilities there, and needs none for that.
#[test]
fn what_is_used_in_an_own_user_namespace_is_no_privilege() {
    let mut node = Node::start(|_| ());
    let (_, empty) = used(&mut node, &["user-namespace", "chroot"]);
    assert_eq!(empty, [].into());
    node.assert_nothing_lost();
}

/// A use wakes user space as a new call does, without one.
#[test]
fn a_first_use_is_told() {
    let mut node = Node::start(|_| ());
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("a name");
    let words = [
        PROBE,
        "privileged",
        folder,
        "chown-own",
        "wait",
        "chown",
        "wait",
    ];
    let mut workload = Command::new("unshare")
        .arg("-m")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let started = node.wait_for(&words);
    let mut ready = String::new();
    let mut output = BufReader::new(workload.stdout.take().expect("a pipe"));
    output.read_line(&mut ready).expect("it says that it waits");
    node.poll();
    assert_eq!(of(&node, &started), [].into());
    let calls = |node: &Node| {
        let observed = node.containers.observe(started.id);
        observed.expect("it is recorded").calls
    };
    let before = calls(&node);
    let mut input = workload.stdin.take().expect("a pipe");
    input.write_all(b"\n").expect("it waits");
    until("it is told", || {
        let changes = node.containers.poll().expect("the recorder can be asked");
        changes.grown.contains(&started.id)
    });
    assert_eq!(of(&node, &started), [CHOWN].into());
    assert_eq!(calls(&node), before);
    drop(input);
    assert!(workload.wait().expect("it ends").success());
    node.assert_nothing_lost();
}
/// A check in the middle of a call leaves alone what the next call is judged by: a namespace that a container makes is its own.
#[test]
fn what_a_container_makes_with_a_privilege_is_its_own() {
    let mut node = Node::start(|_| ());
    let script = "\"$0\" one fsync; unshare -m \"$0\" one tee";
    let status = Command::new("unshare")
        .args(["-m", "sh", "-c", script, PROBE])
        .status();
    assert!(status.expect("unshare starts").success());
    let started = node.wait_for(&[script, PROBE]);
    // And `unshare` mounts.
    let rare = node.rare(started.id);
    assert!(rare.is_superset(&["fsync", "tee"].into()), "{rare:?}");
    node.assert_nothing_lost();
}
