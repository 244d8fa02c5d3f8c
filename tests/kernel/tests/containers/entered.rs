//! Who enters a container has a set of its own.

use std::process::{Command, Stdio};

use spo::event::{Started, SubjectId};
use spo_kernel_tests::tier;

use super::node::{Node, PROBE, until};
use super::oci::{Container, Hierarchies};

#[test]
fn runc_exec() {
    if tier::has("runc_exec", &["runc"]) {
        exec("runc", Hierarchies::All);
    }
}

#[test]
fn crun_exec() {
    if tier::has("crun_exec", &["crun"]) {
        exec("crun", Hierarchies::Second);
    }
}

fn exec(runtime: &'static str, hierarchies: Hierarchies) {
    let workload = "\"$0\" rejoin fsync tee; read x; \"$0\" one bind";
    let words = ["sh", "-c", workload, PROBE];
    let mut container = Container::prepare(runtime, hierarchies, &words);
    let mut node = Node::start(|_| ());
    container.go();
    let started = node.wait_for(&words);
    until("it makes its calls", || node.rare(started.id).len() == 2);
    container.exec(&[PROBE, "one", "acct"]);
    let probe = node.wait_for(&[PROBE, "one", "acct"]);
    container.exec(&[
        "sh",
        "-c",
        "\"$0\" one link; \"$0\" rejoin chroot mount",
        PROBE,
    ]);
    let shell = node.wait_for(&["\"$0\" one link; \"$0\" rejoin chroot mount", PROBE]);
    container.end();
    node.poll();
    for (entered, calls) in [
        (&probe, vec!["acct"]),
        (&shell, vec!["link", "chroot", "mount"]),
    ] {
        assert!(entered.entered, "{entered:?}");
        assert_eq!(entered.namespace_id, started.namespace_id);
        assert_eq!(entered.unified.leaf, container.id);
        assert_eq!(node.rare(entered.id), calls.into_iter().collect());
    }
    assert_eq!(node.rare(started.id), ["fsync", "tee", "bind"].into());
    let all = node
        .told
        .iter()
        .filter(|one| one.namespace_id == started.namespace_id);
    assert_eq!(all.count(), 3, "the container, and two that entered");
    let ended = node.containers.sweep(&[]).expect("a sweep").ended;
    for one in [&started, &probe, &shell] {
        assert!(ended.contains(&one.id), "{one:?}");
    }
    node.assert_nothing_lost();
}

/// Without any runtime; a daemon stays behind, and is released while it runs.
#[test]
fn nsenter_and_who_stays_behind() {
    let mut node = Node::start(|limits| limits.subjects = 64);
    let mut workload = Command::new("unshare")
        .args(["-m", "sh", "-c", "read x; \"$0\" one fsync", PROBE])
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let started = node.wait_for(&["read x; \"$0\" one fsync", PROBE]);
    let target = workload.id().to_string();
    let mut daemon = Command::new("nsenter")
        .args([
            "-m",
            "-t",
            &target,
            "sh",
            "-c",
            "\"$0\" one tee; read x; \"$0\" one bind",
            PROBE,
        ])
        .stdin(Stdio::piped())
        .spawn()
        .expect("nsenter starts");
    let entered = node.wait_for(&["\"$0\" one tee; read x; \"$0\" one bind", PROBE]);
    assert!(entered.entered);
    until("it calls", || node.rare(entered.id).contains("tee"));
    assert_eq!(node.rare(entered.id), ["tee"].into());
    let swept = node.containers.sweep(&[entered.id]).expect("a sweep");
    assert!(!swept.ended.contains(&started.id));
    // It runs on, and its index is another's in time, who has none of its calls.
    let other = next_of(&mut node, entered.id.index);
    drop(daemon.stdin.take());
    daemon.wait().expect("the shell ends");
    assert_eq!(node.rare(other), ["acct"].into());
    drop(workload.stdin.take());
    workload.wait().expect("the shell ends");
    assert_eq!(node.rare(started.id), ["fsync"].into());
    node.assert_nothing_lost();
}

/// A released container runs on too.
#[test]
fn a_container_that_is_released_while_it_runs() {
    let mut node = Node::start(|limits| limits.subjects = 64);
    let script = "\"$0\" one tee; read x; \"$0\" one bind; unshare -m \"$0\" one link";
    let mut workload = Command::new("unshare")
        .args(["-m", "sh", "-c", script, PROBE])
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let started = node.wait_for(&[script, PROBE]);
    until("it calls", || node.rare(started.id).contains("tee"));
    node.containers.sweep(&[started.id]).expect("a sweep");
    let other = next_of(&mut node, started.id.index);
    drop(workload.stdin.take());
    workload.wait().expect("the shell ends");
    assert_eq!(node.rare(other), ["acct"].into());
    node.assert_nothing_lost();
}

/// Starts and releases containers until one gets an index, and keeps that one.
fn next_of(node: &mut Node, index: u32) -> SubjectId {
    for _ in 0..200 {
        let status = Command::new("unshare")
            .args(["-m", PROBE, "one", "acct"])
            .status();
        assert!(status.expect("unshare starts").success());
        let began = node.poll();
        let own = |one: &&Started| one.arguments.ends_with(&["acct".to_owned()]);
        let own = began.iter().find(own).expect("it began").id;
        assert_eq!(node.rare(own), ["acct"].into());
        if own.index == index {
            return own;
        }
        node.containers.sweep(&[own]).expect("a sweep");
    }
    panic!("nobody got the index {index}");
}
