//! Namespaces that ended make room for others.

use std::process::{Command, Stdio};

use super::node::{Node, PROBE};
use spo_kernel_tests::probe::nth;
use spo_kernel_tests::tier;

/// More namespaces come than the map has places, and nobody is lost; what nobody releases stays.
#[test]
fn more_namespaces_over_time_than_places() {
    let places = 256;
    let mut node = Node::start(|limits| limits.namespaces = places);
    let count = if tier::is_vm() { 300 } else { 600 };
    let first = keep(&mut node, "semop");
    let mut told = 0;
    for index in 0..count {
        let name = nth(index);
        // The namespace of this one begins and ends without any workload.
        let status = Command::new("unshare")
            .args(["-m", PROBE, "one", name])
            .status();
        assert!(status.expect("unshare starts").success());
        let started = node.poll();
        let own = started
            .iter()
            .find(|one| one.arguments == [PROBE, "one", name]);
        let own = own.expect("it began");
        assert_eq!(node.rare(own.id), [name].into());
        told += 1;
        if node.crowded {
            let ids: Vec<_> = node.told.drain(..).map(|one| one.id).collect();
            let ids: Vec<_> = ids.into_iter().filter(|id| *id != first).collect();
            node.containers.sweep(&ids).expect("a sweep");
            node.crowded = false;
        }
    }
    node.assert_nothing_lost();
    assert_eq!(told, count);
    assert!(u32::try_from(count).expect("a number") > places);
    assert_eq!(node.rare(first), ["semop"].into());
}

/// Without sweeps the map gets full, which is counted.
#[test]
fn more_namespaces_at_once_than_places() {
    let mut node = Node::start(|limits| limits.namespaces = 128);
    for index in 0..140 {
        let status = Command::new("unshare")
            .args(["-m", PROBE, "one", nth(index)])
            .status();
        assert!(status.expect("unshare starts").success());
    }
    node.poll();
    assert!(node.crowded);
    let losses = node.containers.losses().expect("the recorder counts");
    assert!(losses.namespaces_full > 0, "{losses:?}");
    node.containers.sweep(&[]).expect("a sweep");
    keep(&mut node, "semop");
    let after = node.containers.losses().expect("the recorder counts");
    assert_eq!(after.namespaces_full, losses.namespaces_full);
}

/// The same of sets. Those that there are stay whole, and when one is released there is room again.
#[test]
fn more_containers_than_sets() {
    let mut node = Node::start(|limits| limits.subjects = 16);
    let first = keep(&mut node, "semop");
    for index in 0..20 {
        let status = Command::new("unshare")
            .args(["-m", PROBE, "one", nth(index)])
            .status();
        assert!(status.expect("unshare starts").success());
    }
    node.poll();
    let losses = node.containers.losses().expect("the recorder counts");
    assert!(losses.subjects_full > 0, "{losses:?}");
    assert!(losses.lost() >= losses.subjects_full);
    assert_eq!(node.rare(first), ["semop"].into());
    let ids: Vec<_> = node.told.drain(..).map(|one| one.id).collect();
    node.containers.sweep(&ids).expect("a sweep");
    keep(&mut node, "semctl");
}

/// A sweep tells which subjects ended, and which runtimes never came to a workload.
#[test]
fn what_ended_is_told() {
    let mut node = Node::start(|_| ());
    let mut child = Command::new("unshare")
        .args(["-m", "sh", "-c", "\"$0\" one fsync; read x", PROBE])
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let started = node.wait_for(&["\"$0\" one fsync; read x", PROBE]);
    let swept = node.containers.sweep(&[]).expect("a sweep");
    assert!(!swept.ended.contains(&started.id));
    drop(child.stdin.take());
    child.wait().expect("the shell ends");
    let swept = node.containers.sweep(&[]).expect("a sweep");
    assert!(swept.ended.contains(&started.id));
    assert_eq!(node.rare(started.id), ["fsync"].into());
    let swept = node.containers.sweep(&[started.id]).expect("a sweep");
    assert!(!swept.ended.contains(&started.id));
    assert!(node.containers.sweep(&[started.id]).is_err());
    node.assert_nothing_lost();
}

/// A short container, whose subject stays.
fn keep(node: &mut Node, name: &str) -> spo::event::SubjectId {
    let status = Command::new("unshare")
        .args(["-m", PROBE, "one", name])
        .status();
    assert!(status.expect("unshare starts").success());
    node.wait_for(&[PROBE, "one", name]).id
}
