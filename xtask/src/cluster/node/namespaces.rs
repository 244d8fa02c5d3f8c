//! The namespaces of a node: what is mounted there, and the way to the machine.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{HOLDER, Node, View};
use crate::cluster::components::Component;
use crate::cluster::log::ending;
use crate::cluster::processes::{Lifetime, Process};
use crate::process;

const PATIENCE: Duration = Duration::from_secs(20);

/// Holds the namespaces. Told to end, it ends all that is in the node's cgroup, itself included;
/// the file for that is opened while it can still be seen.
const HOLD: &str = r#"exec 3>"$0"; trap 'echo 1 >&3' TERM; while :; do sleep 3600 & wait $!; done"#;

/// What the kubelet wants of the kernel; it would change the whole machine. It finds these files in
/// place of the kernel's own, and changes nothing.
const SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Makes them, and a process that holds them.
pub(super) fn make(node: &Node, lifetime: Lifetime, log: &Path) -> Result<()> {
    let holder = node.counted(Component {
        name: HOLDER,
        program: "unshare".into(),
        args: holding(node, lifetime),
        health: None,
    });
    // The kernel tells the holder when this process ends, and the holder ends the rest.
    let holder = Process::start(&holder, Lifetime::Detached, log, &node.holder_file())?;
    wait(&holder, log)?;
    mounts(node)?;
    network(node, holder.pid())
}

fn holding(node: &Node, lifetime: Lifetime) -> Vec<String> {
    let mut words = vec!["--mount", "--net", "--propagation", "private", "--"];
    match lifetime {
        Lifetime::Detached => {}
        Lifetime::Ours => words.extend(["setpriv", "--pdeathsig", "TERM", "--"]),
    }
    words.extend(["sh", "-c", HOLD]);
    let mut words: Vec<_> = words.into_iter().map(str::to_owned).collect();
    let file = node.hierarchies.kill_file(&node.name());
    words.push(file.to_string_lossy().into_owned());
    words
}

/// Waits until the process has namespaces of its own and has become the one that holds them.
#[expect(
    clippy::disallowed_methods,
    reason = "the program that makes the namespaces does not say when it has"
)]
fn wait(holder: &Process, log: &Path) -> Result<()> {
    let proc = Path::new("/proc").join(holder.pid().to_string());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read(proc.join("cmdline")).unwrap_or_default();
        if text.starts_with(b"sh\0-c\0exec") && is_apart(&proc) {
            return Ok(());
        }
        if !holder.is_running() || Instant::now() > deadline {
            bail!("failed to make namespaces; {}", ending(log));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_apart(proc: &Path) -> bool {
    ["ns/mnt", "ns/net"].iter().all(|name| {
        let own = fs::read_link(Path::new("/proc/self").join(name));
        let other = fs::read_link(proc.join(name));
        matches!((own, other), (Ok(own), Ok(other)) if own != other)
    })
}

/// Folders of the node's own over those in which its programs keep things. All mounts are shared
/// with pods, which is what the kubelet asks for.
fn mounts(node: &Node) -> Result<()> {
    let folder = node.folder();
    let mut lines = vec![
        "mount --make-rshared /".to_owned(),
        "mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run".to_owned(),
    ];
    let text = |path: &Path| quoted(&path.to_string_lossy());
    for (below, place) in [("lib", "/var/lib"), ("log", "/var/log")] {
        let own = folder.join(below);
        make_folder(&own)?;
        lines.push(format!("mount --bind {} {place}", text(&own)));
    }
    make_folder(&node.kubelet())?;
    for (name, value) in SETTINGS {
        let own = folder.join("settings").join(name.replace('/', "."));
        make_folder(own.parent().unwrap_or(&folder))?;
        fs::write(&own, format!("{value}\n"))
            .with_context(|| format!("failed to write {}", own.display()))?;
        let place = Path::new("/proc/sys").join(name);
        if place.exists() {
            lines.push(format!("mount --bind {} {}", text(&own), place.display()));
        }
    }
    if node.hierarchies.are_divided() {
        match node.view() {
            // The holder keeps a file of it open.
            View::V2 => lines.extend([
                "umount --recursive --lazy /sys/fs/cgroup".to_owned(),
                "mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup".to_owned(),
            ]),
            // crun refuses to work with both kinds if the cgroup2 hierarchy has a controller, which
            // nobody hands on, so that it is of no use there.
            View::Host => {
                let own = folder.join("settings/no-controllers");
                fs::write(&own, "")
                    .with_context(|| format!("failed to write {}", own.display()))?;
                let place = node.hierarchies.controllers_file();
                lines.push(format!("mount --bind {} {}", text(&own), text(&place)));
            }
        }
    }
    process::run(node.command("sh")?.args(["-euc", &lines.join("\n")]))
        .context("failed to mount what the node sees")
}

/// A cable between the machine and the node. The kubelet asks for clouds at an address of their own,
/// and waits for eleven seconds if nothing says that it cannot be reached.
fn network(node: &Node, holder: i32) -> Result<()> {
    let name = node.name();
    let (outer, inner) = (node.host_address(), node.address());
    let outside = format!(
        "ip link add {name} type veth peer name eth0 netns {holder}\n\
         ip address add {outer}/30 dev {name}\n\
         ip link set {name} up"
    );
    process::run(Command::new("sh").args(["-euc", &outside]))
        .context("failed to connect the node")?;
    let inside = format!(
        "ip link set lo up\n\
         ip address add {inner}/30 dev eth0\n\
         ip link set eth0 up\n\
         ip route add default via {outer}\n\
         ip route add unreachable 169.254.0.0/16"
    );
    process::run(node.command("sh")?.args(["-euc", &inside])).context("failed to connect the node")
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("failed to make the folder {}", folder.display()))
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
