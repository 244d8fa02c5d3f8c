//! A container's workload begins, and tells its cgroup.

use std::path::Path;
use std::process::Command;

use spo_kernel_tests::tier;

use super::node::{Node, PROBE, until};
use super::oci::{Container, Hierarchies};

/// What a container does in these tests: a call, and then it waits.
const WORKLOAD: &str = "\"$0\" one fsync; read x; \"$0\" one tee";

#[test]
fn runc_in_the_hierarchies_of_the_machine() {
    if tier::has("runc_in_the_hierarchies_of_the_machine", &["runc"]) {
        let (container, started) = run("runc", Hierarchies::All);
        assert_eq!(started.controller.leaf, container.id);
        assert_eq!(started.controller.parent, container.pod);
        assert_eq!(started.unified.leaf, container.id);
        assert_eq!(started.unified.parent, container.pod);
    }
}

#[test]
fn crun_in_hierarchies_of_version_1() {
    if tier::has("crun_in_hierarchies_of_version_1", &["crun"])
        && has_version_1("crun_in_hierarchies_of_version_1")
    {
        let (container, started) = run("crun", Hierarchies::First);
        assert_eq!(started.controller.leaf, container.id);
        assert_eq!(started.controller.parent, container.pod);
        assert_eq!(started.unified.leaf, "");
    }
}

#[test]
fn crun_in_the_hierarchy_of_version_2() {
    if tier::has("crun_in_the_hierarchy_of_version_2", &["crun"]) {
        let (container, started) = run("crun", Hierarchies::Second);
        assert_eq!(started.unified.leaf, container.id);
        assert_eq!(started.unified.parent, container.pod);
    }
}

#[expect(
    clippy::print_stdout,
    reason = "what is skipped is told where the results are"
)]
fn has_version_1(test: &str) -> bool {
    let has = Path::new("/sys/fs/cgroup/pids").exists();
    if !has {
        println!("skipped: {test}: no hierarchy of version 1 here");
    }
    has
}

/// A container from its beginning to its end: its set has its calls while it runs, and after, and not the runtime's.
fn run(runtime: &'static str, hierarchies: Hierarchies) -> (Container, spo::event::Started) {
    let mut container = Container::prepare(runtime, hierarchies, &["sh", "-c", WORKLOAD, PROBE]);
    let mut node = Node::start(|_| ());
    container.go();
    let started = node.wait_for(&["sh", "-c", WORKLOAD, PROBE]);
    assert!(!started.entered);
    assert!(!started.arguments_cut);
    assert_eq!(started.comm.to_string(), "sh");
    until("it makes its call", || {
        node.rare(started.id).contains("fsync")
    });
    assert_eq!(node.rare(started.id), ["fsync"].into());
    container.end();
    assert_eq!(node.rare(started.id), ["fsync", "tee"].into());
    let listed = node
        .containers
        .started()
        .expect("the recorder can be asked");
    assert!(listed.contains(&started));
    node.assert_nothing_lost();
    (container, started)
}

/// Without any runtime, on every kernel: in a cgroup of a name of its own.
#[test]
fn a_cgroup_made_by_hand() {
    let parent = format!("spo-test-{}.slice", std::process::id());
    let told = told_of(&parent, "a-container.scope");
    assert_eq!(told, (parent, "a-container.scope".to_owned()));
}

/// The longest name that a runtime gives: containerd with cgroupfs, under a kubelet with systemd.
#[test]
fn a_long_name_is_told_whole() {
    let id = "0123456789abcdef".repeat(4);
    let pod = "0cbf8b24_0a59_4b2c_8a3a_1d2e3f405162";
    let leaf = format!("kubepods-besteffort-pod{pod}.slice:cri-containerd:{id}");
    let parent = format!("spo-test-long-{}.slice", std::process::id());
    let (_, told) = told_of(&parent, &leaf);
    assert_eq!(told, leaf);
}

/// What is told of a program's cgroup that has these names.
fn told_of(parent: &str, leaf: &str) -> (String, String) {
    let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let mut hierarchy = hierarchy.iter().map(Path::new);
    let root = hierarchy
        .find(|folder| folder.join("cgroup.procs").exists())
        .expect("there is a hierarchy of version 2");
    let parent = root.join(parent);
    let leaf = parent.join(leaf);
    std::fs::create_dir_all(&leaf).expect("a cgroup");
    let mut node = Node::start(|_| ());
    let script = "echo $$ > \"$1/cgroup.procs\"; exec unshare -m \"$0\" one fsync";
    let status = Command::new("sh")
        .args(["-c", script, PROBE])
        .arg(&leaf)
        .status();
    for folder in [&leaf, &parent] {
        until("the cgroup is empty", || {
            std::fs::remove_dir(folder).is_ok()
        });
    }
    assert!(status.expect("the shell starts").success());
    // It is told although the container, and its cgroup, are gone.
    let started = node.wait_for(&[PROBE, "one", "fsync"]);
    node.assert_nothing_lost();
    (started.unified.parent, started.unified.leaf)
}

/// Records that do not fit into the ring are found in the maps.
#[test]
fn a_full_ring_loses_no_container() {
    let mut node = Node::start(|limits| limits.ring = 4096);
    let names = ["fsync", "tee", "bind", "acct", "link", "chroot"];
    for name in names {
        let status = Command::new("unshare")
            .args(["-m", PROBE, "one", name])
            .status();
        assert!(status.expect("unshare starts").success());
    }
    node.poll();
    let losses = node.containers.losses().expect("the recorder counts");
    assert!(losses.events_full > 0, "{losses:?}");
    for name in names {
        let started = node.find(&[PROBE, "one", name]).expect("it is found");
        assert_eq!(node.rare(started.id), [name].into());
    }
    assert_eq!(
        node.poll()
            .iter()
            .filter(|new| new.arguments.contains(&PROBE.to_owned()))
            .count(),
        0
    );
    node.assert_nothing_lost();
}

#[test]
fn long_arguments_are_cut() {
    let mut node = Node::start(|_| ());
    let long = "x".repeat(200);
    let status = Command::new("unshare").args(["-m", "true", &long]).status();
    assert!(status.expect("unshare starts").success());
    node.poll();
    let cut = node
        .told
        .iter()
        .find(|started| started.arguments.first().is_some_and(|name| name == "true"));
    let cut = cut.expect("it began");
    assert!(cut.arguments_cut);
    assert_eq!(cut.arguments[1], "x".repeat(128 - "true\0".len()));
}
