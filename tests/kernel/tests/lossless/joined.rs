//! What runs already when the recording begins.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use super::recording::{PROBE, Recording, Session, record, until};

/// The calls of a tree, of which nobody makes one before `end` is called.
const CALLS: [&str; 6] = ["fsync", "tee", "bind", "acct", "link", "chroot"];
/// The calls in which threads of a tree wait all the time.
const BLOCKED: [&str; 2] = ["rt_sigsuspend", "pause"];

/// A tree of processes. Dropping it ends it.
struct Tree(Child);

impl Tree {
    /// Starts it; the program may be put behind others.
    fn start(before: &[&str]) -> Self {
        let words = [before, &[PROBE, "tree"], &CALLS].concat();
        let mut command = Command::new(words[0]);
        let child = command
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut tree = Self(child.expect("the tree starts"));
        let mut line = String::new();
        let stdout = tree.0.stdout.take().expect("standard output is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the tree speaks");
        assert_eq!(line, "ready\n");
        tree
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Lets it make its calls, and end.
    fn end(&mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().expect("the tree ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("the tree ends");
    }
}

fn run(words: &[&str]) {
    let status = Command::new(words[0])
        .args(&words[1..])
        .status()
        .expect("the command starts");
    assert!(status.success(), "{words:?}: {status}");
}

/// Records a tree while others call too.
fn join(options: &[&str], mut tree: Tree) -> Recording {
    let session = Session::start(options, &[]);
    session.wait_until_attached();
    run(&[PROBE, "one", "mkdir"]);
    run(&["unshare", "-m", PROBE, "one", "rmdir"]);
    tree.end();
    let recording = session.finish();
    assert!(recording.status.success(), "{}", recording.stderr);
    recording.assert_nothing_lost();
    let partial = recording
        .profile()
        .annotation("partial")
        .expect("it was joined late");
    assert!(partial.contains("joined process"), "{partial}");
    recording.profile().assert_rare(CALLS);
    for name in BLOCKED {
        assert!(
            recording.profile().names.contains(name),
            "{name}: {:?}",
            recording.profile().names
        );
    }
    recording
}

#[test]
fn a_tree_in_the_mount_namespace_of_the_host() {
    let tree = Tree::start(&[]);
    join(&["--pid", &tree.pid()], tree);
}

#[test]
fn a_process_in_a_mount_namespace_of_its_own() {
    let tree = Tree::start(&["unshare", "-m"]);
    join(&["--pid", &tree.pid()], tree);
}

/// Those between the process and its last descendant have ended before anybody looked.
#[test]
fn a_descendant_without_parents() {
    let script = "read x; (sh -c 'sleep 2; exec \"$0\" one acct' \"$0\" &); exit 0";
    let mut child = Command::new("sh")
        .args(["-c", script, PROBE])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let session = Session::start(&["--pid", &child.id().to_string()], &[]);
    session.wait_until_attached();
    drop(child.stdin.take());
    child.wait().expect("the shell ends");
    let recording = session.finish();
    assert!(recording.status.success(), "{}", recording.stderr);
    recording.assert_nothing_lost();
    recording.profile().assert_rare(["acct"]);
}

/// The tree is not the whole namespace: what enters it later belongs to it too.
#[test]
fn a_process_that_enters_the_namespace() {
    let mut tree = Tree::start(&["unshare", "-m"]);
    let session = Session::start(&["--pid", &tree.pid()], &[]);
    session.wait_until_attached();
    run(&[
        "nsenter",
        "-m",
        "-t",
        &tree.pid(),
        PROBE,
        "chain",
        "mkdir",
        "rmdir",
    ]);
    tree.end();
    let recording = session.finish();
    recording.assert_nothing_lost();
    recording
        .profile()
        .assert_rare(CALLS.into_iter().chain(["mkdir", "rmdir"]));
}

#[test]
fn a_container_by_the_name_of_its_cgroup() {
    let id = "5f0e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a3928170";
    let group = Group::create(&format!("cri-containerd-{id}.scope"));
    let tree = Tree::start(&["unshare", "-m"]);
    fs::write(group.0.join("cgroup.procs"), tree.pid()).expect("the tree moves into the group");
    let recording = join(&["--container", &id[..12]], tree);
    assert!(recording.stderr.contains(id), "{}", recording.stderr);
}

#[test]
fn a_container_or_a_process_that_is_not_there() {
    let myself = std::process::id().to_string();
    for (option, value, text) in [
        (
            "--container",
            "0123456789ab",
            "no running container has the id 0123456789ab",
        ),
        ("--pid", "2147483647", "there is no process 2147483647"),
        ("--pid", "2", "a thread of the kernel"),
        ("--pid", &myself, "spo's own ancestor"),
    ] {
        let recording = record(&[option, value], &[]);
        assert_eq!(recording.code(), 125, "{}", recording.stderr);
        assert!(recording.stderr.contains(text), "{}", recording.stderr);
        assert!(recording.profiles.is_empty());
    }
}

#[test]
fn everything_outside_the_hosts_mount_namespace() {
    let mut tree = Tree::start(&["unshare", "-m"]);
    let session = Session::start(&["--no-proc-start"], &[]);
    session.wait_until_attached();
    session.wait_until_listening();
    run(&["unshare", "-m", PROBE, "chain", "semop", "semctl"]);
    run(&[
        PROBE,
        "container",
        "unshare",
        "msgsnd",
        "msgrcv",
        "one",
        "shmat",
    ]);
    run(&[PROBE, "chain", "mkdir", "rmdir"]);
    tree.end();
    session.signal(Signal::SIGINT);
    let recording = session.finish();
    assert!(recording.status.success(), "{}", recording.stderr);
    recording.assert_nothing_lost();
    assert!(recording.profile().annotation("partial").is_some());
    let others = ["semop", "semctl", "shmat"];
    recording
        .profile()
        .assert_rare(CALLS.into_iter().chain(others));
}

#[test]
fn everything_for_two_seconds() {
    let mut tree = Tree::start(&["unshare", "-m"]);
    let session = Session::start(&["--no-proc-start", "--timeout", "2s"], &[]);
    session.wait_until_attached();
    tree.end();
    let recording = session.finish();
    assert!(recording.status.success(), "{}", recording.stderr);
    recording.assert_nothing_lost();
    // Everything is also what containers of others do on this machine.
    let profile = recording.profile();
    let found = profile.rare();
    let missing: Vec<_> = CALLS.iter().filter(|call| !found.contains(*call)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A cgroup of the second version, or of any hierarchy of the first.
struct Group(PathBuf);

impl Group {
    fn create(name: &str) -> Self {
        let hierarchies = [
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/unified",
            "/sys/fs/cgroup/pids",
            "/sys/fs/cgroup/systemd",
        ];
        let root = hierarchies
            .iter()
            .map(Path::new)
            .find(|folder| folder.join("cgroup.procs").exists());
        let group = root.expect("there is a hierarchy of cgroups").join(name);
        fs::create_dir(&group).expect("a cgroup");
        Self(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        until("the cgroup is empty", || fs::remove_dir(&self.0).is_ok());
    }
}
