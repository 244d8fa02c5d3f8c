//! What building and testing need from the distribution, and how each package manager calls it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::packages::Manager;
use crate::env::{Privilege, which};

/// For what something is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Compiling at all.
    Base,
    /// Programs that the unit tier asks whether they take what we write. Without one, its tests are
    /// skipped.
    Oracle,
    /// The host tier: programs that are recorded, oracles, container runtimes.
    Host,
    /// The vm tier.
    Vm,
    /// The cluster tier, and clusters for people.
    Cluster,
    /// A node of such a cluster.
    Node,
    /// Programs that tests of the cluster tier ask. Without one, its tests are skipped.
    ClusterOracle,
    /// Building the programs of a cluster, where nobody has.
    ClusterBuild,
}

/// Something that the distribution has a package for.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) what: &'static str,
    pub(crate) group: Group,
    probe: Probe,
    /// Package names, in the order of [`Manager`]; empty where the distribution has none.
    packages: [&'static str; 4],
}

#[derive(Debug)]
enum Probe {
    /// All of these programs are there.
    Programs(&'static [&'static str]),
    /// One of these folders has this file.
    InFolder(&'static [&'static str], &'static str),
    /// This C program compiles and links with these flags.
    Compiles(&'static [&'static str], &'static str),
}

const fn need(group: Group, what: &'static str, probe: Probe, packages: [&'static str; 4]) -> Need {
    Need {
        what,
        group,
        probe,
        packages,
    }
}

/// Where distributions put the programs that give pods their network.
pub(crate) const CNI: &[&str] = &["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

const SECCOMP: &str = "#include <seccomp.h>\nint main(void) { return seccomp_api_get(); }";
const I386: &str = "#include <stdio.h>\n#include <sys/syscall.h>\nint main(void) { return puts(\"\") + SYS_getpid; }";

const NEEDS: &[Need] = &[
    //                                                                                 apt, dnf, pacman, apk
    need(
        Group::Base,
        "C compiler",
        Probe::Programs(&["cc"]),
        ["gcc libc6-dev", "gcc", "gcc", "gcc musl-dev"],
    ),
    need(
        Group::Base,
        "libseccomp headers",
        Probe::Compiles(&["-lseccomp"], SECCOMP),
        [
            "libseccomp-dev",
            "libseccomp-devel",
            "libseccomp",
            "libseccomp-dev",
        ],
    ),
    need(
        Group::Oracle,
        "AppArmor's parser",
        Probe::Programs(&["apparmor_parser"]),
        ["apparmor", "", "apparmor", "apparmor"],
    ),
    need(
        Group::Oracle,
        "secilc",
        Probe::Programs(&["secilc"]),
        ["secilc", "secilc", "", ""],
    ),
    need(
        Group::Host,
        "strace",
        Probe::Programs(&["strace"]),
        ["strace"; 4],
    ),
    need(
        Group::Host,
        "python3",
        Probe::Programs(&["python3"]),
        ["python3", "python3", "python", "python3"],
    ),
    need(Group::Host, "curl", Probe::Programs(&["curl"]), ["curl"; 4]),
    need(Group::Host, "git", Probe::Programs(&["git"]), ["git"; 4]),
    need(
        Group::Host,
        "nginx",
        Probe::Programs(&["nginx"]),
        ["nginx-light", "nginx", "nginx", "nginx"],
    ),
    need(
        Group::Host,
        "redis-server",
        Probe::Programs(&["redis-server"]),
        ["redis-server", "redis", "redis", "redis"],
    ),
    need(Group::Host, "runc", Probe::Programs(&["runc"]), ["runc"; 4]),
    need(Group::Host, "crun", Probe::Programs(&["crun"]), ["crun"; 4]),
    need(
        Group::Host,
        "util-linux",
        Probe::Programs(&["unshare", "nsenter", "setpriv", "chrt", "taskset", "setsid"]),
        [
            "util-linux",
            "util-linux",
            "util-linux",
            "util-linux util-linux-misc",
        ],
    ),
    need(
        Group::Host,
        "capability tools",
        Probe::Programs(&["capsh", "setcap"]),
        ["libcap2-bin", "libcap", "libcap", "libcap-utils"],
    ),
    #[cfg(target_arch = "x86_64")]
    need(
        Group::Host,
        "32-bit C compiler",
        Probe::Compiles(&["-m32"], I386),
        [
            "gcc-multilib",
            "glibc-devel.i686 libgcc.i686",
            "lib32-glibc lib32-gcc-libs",
            "",
        ],
    ),
    need(
        Group::Vm,
        "strace",
        Probe::Programs(&["strace"]),
        ["strace"; 4],
    ),
    need(
        Group::Vm,
        "busybox",
        Probe::Programs(&["busybox"]),
        ["busybox-static", "busybox", "busybox", "busybox-static"],
    ),
    #[cfg(target_arch = "x86_64")]
    need(
        Group::Vm,
        "QEMU for x86_64",
        Probe::Programs(&["qemu-system-x86_64"]),
        [
            "qemu-system-x86",
            "qemu-system-x86-core",
            "qemu-system-x86",
            "qemu-system-x86_64",
        ],
    ),
    need(
        Group::Cluster,
        "etcd",
        Probe::Programs(&["etcd"]),
        ["etcd-server", "etcd", "", "etcd"],
    ),
    need(
        Group::Cluster,
        "setpriv",
        Probe::Programs(&["setpriv"]),
        ["util-linux", "util-linux", "util-linux", "setpriv"],
    ),
    need(
        Group::Node,
        "containerd",
        Probe::Programs(&["containerd", "ctr"]),
        [
            "containerd",
            "containerd",
            "containerd",
            "containerd containerd-ctr",
        ],
    ),
    need(Group::Node, "runc", Probe::Programs(&["runc"]), ["runc"; 4]),
    need(Group::Node, "crun", Probe::Programs(&["crun"]), ["crun"; 4]),
    need(
        Group::Node,
        "CNI plugins",
        Probe::InFolder(CNI, "bridge"),
        [
            "containernetworking-plugins",
            "containernetworking-plugins",
            "cni-plugins",
            "cni-plugins",
        ],
    ),
    need(
        Group::Node,
        "conntrack",
        Probe::Programs(&["conntrack"]),
        [
            "conntrack",
            "conntrack-tools",
            "conntrack-tools",
            "conntrack-tools",
        ],
    ),
    need(
        Group::Node,
        "iptables",
        Probe::Programs(&["iptables"]),
        ["iptables", "iptables-nft", "iptables-nft", "iptables"],
    ),
    need(
        Group::Node,
        "ip",
        Probe::Programs(&["ip"]),
        ["iproute2", "iproute", "iproute2", "iproute2"],
    ),
    need(
        Group::Node,
        "busybox",
        Probe::Programs(&["busybox"]),
        ["busybox-static", "busybox", "busybox", "busybox-static"],
    ),
    need(
        Group::Node,
        "namespace tools",
        Probe::Programs(&["unshare", "nsenter", "mount", "setpriv"]),
        [
            "util-linux",
            "util-linux",
            "util-linux",
            "util-linux util-linux-misc",
        ],
    ),
    need(
        Group::ClusterOracle,
        "auditd",
        Probe::Programs(&["auditd"]),
        ["auditd", "audit", "audit", "audit"],
    ),
    need(
        Group::ClusterOracle,
        "Prometheus",
        Probe::Programs(&["prometheus", "promtool"]),
        ["prometheus", "", "prometheus", "prometheus"],
    ),
    need(
        Group::ClusterOracle,
        "Go, for the chart",
        Probe::Programs(&["go"]),
        ["golang-go", "", "", ""],
    ),
    // Tests of the library of profiles run them.
    need(
        Group::ClusterOracle,
        "nginx",
        Probe::Programs(&["nginx"]),
        ["nginx-light", "nginx", "nginx", "nginx"],
    ),
    need(
        Group::ClusterOracle,
        "redis-server",
        Probe::Programs(&["redis-server"]),
        ["redis-server", "redis", "redis", "redis"],
    ),
    need(
        Group::ClusterOracle,
        "python3",
        Probe::Programs(&["/usr/bin/python3"]),
        ["python3", "python3", "python", "python3"],
    ),
    // Where Debian puts the sources of Go packages, and tests/helm looks for them.
    need(
        Group::ClusterOracle,
        "sprig for Go",
        Probe::InFolder(
            &["/usr/share/gocode/src/github.com/Masterminds/sprig"],
            "functions.go",
        ),
        ["golang-github-masterminds-sprig-dev", "", "", ""],
    ),
    need(
        Group::ClusterOracle,
        "yaml for Go",
        Probe::InFolder(&["/usr/share/gocode/src/github.com/ghodss/yaml"], "yaml.go"),
        ["golang-github-ghodss-yaml-dev", "", "", ""],
    ),
    // The source is Debian's, and so is the compiler that is of an age with it.
    need(
        Group::ClusterBuild,
        "Go",
        Probe::Programs(&["go"]),
        ["golang-go", "", "", ""],
    ),
    need(
        Group::ClusterBuild,
        "patch",
        Probe::Programs(&["patch"]),
        ["patch"; 4],
    ),
    need(
        Group::ClusterBuild,
        "xz",
        Probe::Programs(&["xz"]),
        ["xz-utils", "xz", "xz", "xz"],
    ),
];

impl Need {
    /// What these groups need and is not there.
    pub(crate) fn missing(groups: &[Group]) -> Vec<&'static Self> {
        Self::of(groups)
            .into_iter()
            .filter(|need| !need.is_met())
            .collect()
    }

    /// What these groups need, each thing once.
    pub(crate) fn of(groups: &[Group]) -> Vec<&'static Self> {
        let mut found: Vec<&Self> = Vec::new();
        for need in NEEDS.iter().filter(|need| groups.contains(&need.group)) {
            if !found.iter().any(|other| other.what == need.what) {
                found.push(need);
            }
        }
        found
    }

    pub(crate) fn is_met(&self) -> bool {
        match self.probe {
            Probe::Programs(programs) => programs.iter().all(|program| which(program).is_some()),
            Probe::InFolder(folders, name) => folders
                .iter()
                .any(|folder| Path::new(folder).join(name).is_file()),
            Probe::Compiles(flags, source) => compiles(flags, source).unwrap_or(false),
        }
    }

    fn packages(&self, manager: Manager) -> impl Iterator<Item = &'static str> {
        self.packages[manager as usize].split_whitespace()
    }
}

fn compiles(flags: &[&str], source: &str) -> Result<bool> {
    let mut child = Command::new("cc")
        .args(["-x", "c", "-", "-o", "/dev/null"])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("failed to run cc")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(source.as_bytes())
            .context("failed to write to cc")?;
    }
    Ok(child.wait().context("failed to wait for cc")?.success())
}

/// What could not be installed, and what a person can do about it.
#[derive(Debug, Default)]
pub(crate) struct Unmet {
    pub(crate) what: Vec<String>,
    pub(crate) commands: Vec<String>,
}

impl Unmet {
    pub(crate) fn is_empty(&self) -> bool {
        self.what.is_empty()
    }

    pub(crate) fn add(&mut self, what: impl Into<String>, command: impl Into<String>) {
        self.what.push(what.into());
        self.commands.push(command.into());
    }

    pub(crate) fn extend(&mut self, other: Self) {
        let Self { what, commands } = other;
        self.what.extend(what);
        self.commands.extend(commands);
    }
}

impl std::fmt::Display for Unmet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut commands = self.commands.clone();
        commands.dedup();
        write!(
            f,
            "missing: {}; run: {}",
            self.what.join(", "),
            commands.join(" && ")
        )
    }
}

/// Installs what these groups lack, as far as this machine lets us.
pub(crate) fn ensure(groups: &[Group]) -> Unmet {
    let missing = Need::missing(groups);
    let mut unmet = Unmet::default();
    if missing.is_empty() {
        return unmet;
    }
    let Some(manager) = Manager::find() else {
        for need in missing {
            unmet.add(
                need.what,
                format!("install {} (Debian: {})", need.what, need.packages[0]),
            );
        }
        return unmet;
    };
    let (known, unknown): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .partition(|need| need.packages(manager).next().is_some());
    for need in unknown {
        unmet.add(
            need.what,
            format!("install {} (this distribution has no package)", need.what),
        );
    }
    let packages: Vec<_> = known
        .iter()
        .flat_map(|need| need.packages(manager))
        .collect();
    let privilege = Privilege::find();
    if privilege == Privilege::None {
        if !known.is_empty() {
            unmet
                .what
                .extend(known.iter().map(|need| need.what.to_owned()));
            unmet.commands.push(manager.advice(&packages));
        }
        return unmet;
    }
    if let Err(together) = manager.install(privilege, &packages) {
        eprintln!("{together:#}\ninstalling one by one");
        for need in &known {
            let packages: Vec<_> = need.packages(manager).collect();
            if let Err(error) = manager.install(privilege, &packages) {
                eprintln!("{}: {error:#}", need.what);
            }
        }
    }
    for need in known.into_iter().filter(|need| !need.is_met()) {
        unmet.add(
            need.what,
            manager.advice(&need.packages(manager).collect::<Vec<_>>()),
        );
    }
    unmet
}

#[cfg(test)]
mod tests {
    use super::super::packages::{MANAGERS, Manager};
    use super::{Group, NEEDS, Need, Unmet, compiles};

    #[test]
    fn the_index_of_a_manager_is_its_column() {
        for (index, (manager, _)) in MANAGERS.iter().enumerate() {
            assert_eq!(*manager as usize, index);
        }
        let curl = NEEDS
            .iter()
            .find(|need| need.what == "libseccomp headers")
            .unwrap();
        assert_eq!(
            curl.packages(Manager::Dnf).collect::<Vec<_>>(),
            ["libseccomp-devel"]
        );
    }

    #[test]
    fn what_two_groups_need_is_there_once() {
        let both = Need::of(&[Group::Host, Group::Vm]);
        assert_eq!(both.iter().filter(|need| need.what == "strace").count(), 1);
        assert_eq!(
            Need::of(&[Group::Vm])
                .iter()
                .filter(|need| need.what == "strace")
                .count(),
            1
        );
    }

    #[test]
    fn every_need_has_a_debian_package() {
        assert!(
            NEEDS
                .iter()
                .all(|need| need.packages(Manager::Apt).next().is_some())
        );
        assert!(NEEDS.iter().any(|need| need.group == Group::Base));
    }

    #[test]
    fn a_program_that_does_not_link_is_not_there() {
        assert!(compiles(&[], "int main(void) { return 0; }").unwrap());
        assert!(!compiles(&["-lno-such-library"], "int main(void) { return 0; }").unwrap());
    }

    #[test]
    fn what_is_missing_says_what_to_run() {
        let mut unmet = Unmet::default();
        assert!(unmet.is_empty());
        unmet.add("strace", Manager::Pacman.advice(&["strace"]));
        assert_eq!(
            unmet.to_string(),
            "missing: strace; run: sudo pacman -S --needed strace"
        );
    }
}
