//! An index is used again and again, and no set ever has a call of an earlier owner, though the owner may run still.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use spo::event::Started;
use spo_kernel_tests::tier;

use super::node::{Node, PROBE};

/// What the containers call, one after another.
const NAMES: [&str; 2] = ["fsync", "tee"];

#[test]
fn an_index_that_is_used_again() {
    let count: u32 = std::env::var("SPO_TEST_CONTAINERS").map_or_else(
        |_| if tier::is_vm() { 60 } else { 2000 },
        |count| count.parse().expect("a number"),
    );
    let mut node = Node::start(|limits| {
        limits.subjects = 256;
        limits.namespaces = 512;
    });
    let mut churn = Command::new(PROBE)
        .args(["churn", &count.to_string(), "6"])
        .args(NAMES)
        .stdout(Stdio::null())
        .spawn()
        .expect("the containers start");
    let (mut seen, mut running, mut swept) = (0, 0, 0);
    let mut indices = BTreeSet::new();
    let mut over = false;
    loop {
        let started = node.poll();
        if started.is_empty() && over {
            break;
        }
        over = churn.try_wait().expect("a child").is_some();
        if started.is_empty() {
            // Nothing to do but wait: for the ring, which others fill too.
            std::thread::yield_now();
            continue;
        }
        for one in &started {
            if let Some(own) = own(one) {
                seen += 1;
                indices.insert(one.id.index);
                assert_own(&node, one, own);
            }
        }
        let all: Vec<_> = started.iter().map(|one| one.id).collect();
        // Once more, now that some have gone on: each is still alone in its set.
        for one in &started {
            if let Some(own) = own(one) {
                assert_own(&node, one, own);
            }
        }
        let runs = |one: &&Started| Path::new(&format!("/proc/{}", one.tgid)).exists();
        running += started.iter().filter(runs).count();
        node.containers.sweep(&all).expect("a sweep");
        swept += 1;
        for id in all {
            assert!(node.containers.observe(id).is_err(), "it was released");
        }
    }
    assert!(churn.wait().expect("a child").success());
    node.assert_nothing_lost();
    assert_eq!(seen, count, "each container was told once");
    eprintln!(
        "{seen} containers on {} indices, in {swept} sweeps; {running} seen running when they were to be released",
        indices.len()
    );
    assert!(indices.len() < 256);
}

/// The call that a container of this test makes.
fn own(started: &Started) -> Option<&str> {
    match started.arguments.as_slice() {
        [_, again, name, _] if again == "again" => Some(name),
        _ => None,
    }
}

fn assert_own(node: &Node, started: &Started, own: &str) {
    let rare = node.rare(started.id);
    let others: Vec<_> = rare.iter().filter(|name| **name != own).collect();
    assert!(others.is_empty(), "{started:?} has {others:?}");
}
