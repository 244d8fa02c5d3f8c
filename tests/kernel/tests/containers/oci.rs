//! Containers of runtimes, with cgroups as the kubelet names them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::node::until;

/// A container that waits for its standard input to end. Dropping it ends it, and removes its cgroups.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) pod: String,
    runtime: &'static str,
    child: Child,
    top: String,
    _bundle: TempDir,
}

/// Which hierarchies of cgroups a runtime sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hierarchies {
    /// Those of the machine.
    All,
    /// Those of version 1.
    First,
    /// That of version 2.
    Second,
}

impl Hierarchies {
    /// What a shell does to see them so. (crun takes no machine that has both.)
    fn script(self) -> &'static str {
        match self {
            Self::All => "",
            Self::First => {
                "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified;"
            }
            Self::Second => {
                "mountpoint -q /sys/fs/cgroup/unified && umount -R /sys/fs/cgroup; \
                 [ -e /sys/fs/cgroup/cgroup.procs ] || mount -t cgroup2 none /sys/fs/cgroup;"
            }
        }
    }
}

impl Container {
    /// Prepares one, which begins with [`Container::go`]: what the shell does in its mount namespace is done before a recorder
    /// starts. Its root is this machine's own.
    pub(crate) fn prepare(
        runtime: &'static str,
        hierarchies: Hierarchies,
        arguments: &[&str],
    ) -> Self {
        Self::under(runtime, hierarchies, arguments, None)
    }

    /// The same under a seccomp profile.
    pub(crate) fn under(
        runtime: &'static str,
        hierarchies: Hierarchies,
        arguments: &[&str],
        profile: Option<&Value>,
    ) -> Self {
        let bundle = tempfile::tempdir().expect("a folder");
        let root = bundle.path().join("rootfs");
        fs::create_dir(&root).expect("a folder");
        let number = fs::metadata(bundle.path())
            .map_or(0, |folder| std::os::unix::fs::MetadataExt::ino(&folder));
        let id = format!("{:064x}", number ^ u64::from(std::process::id()) << 40);
        let pod = "pod0b9c7a52-3d41-4f7e-9a86-5e2d1c0f4b73".to_owned();
        let top = format!("kubepods-spo-test-{}-{number}", std::process::id());
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": arguments,
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "cwd": "/",
                "capabilities": { "bounding": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"] },
            },
            "root": { "path": "rootfs" },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "linux": {
                "cgroupsPath": format!("/{top}/burstable/{pod}/{id}"),
                "seccomp": profile,
                "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }],
            },
        });
        fs::write(bundle.path().join("config.json"), config.to_string()).expect("a configuration");
        let script = format!(
            "mount --make-rprivate / && {{ {} true; }} && mount --rbind / \"$1\" && \
             echo ready && read go && shift && exec \"$@\"",
            hierarchies.script()
        );
        let mut child = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script, "sh"])
            .arg(&root)
            .args([runtime, "run", "--bundle"])
            .arg(bundle.path())
            .arg(&id)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the shell speaks");
        assert_eq!(line, "ready\n");
        Self {
            id,
            pod,
            runtime,
            child,
            top,
            _bundle: bundle,
        }
    }

    /// Lets it begin.
    pub(crate) fn go(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("standard input is piped");
        stdin.write_all(b"go\n").expect("the shell reads");
    }

    /// Executes a command in it, as `kubectl exec` does; it must succeed. The runtime sees what the container's runtime sees.
    pub(crate) fn exec(&self, arguments: &[&str]) {
        let shell = self.child.id().to_string();
        let mut command = Command::new("nsenter");
        command
            .args([
                "--mount",
                "--target",
                &shell,
                self.runtime,
                "exec",
                &self.id,
            ])
            .args(arguments)
            .stdin(Stdio::null());
        let status = command.status().expect("nsenter starts");
        assert!(status.success(), "{arguments:?}: {status}");
    }

    /// Lets it end.
    pub(crate) fn end(&mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("the container ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _already_reported = self.child.wait();
        for hierarchy in hierarchies() {
            let top = hierarchy.join(&self.top);
            let group = top.join("burstable").join(&self.pod);
            for folder in [&group.join(&self.id), &group, &top.join("burstable"), &top] {
                until("a cgroup is empty", || {
                    !folder.exists() || fs::remove_dir(folder).is_ok()
                });
            }
        }
    }
}

/// Where hierarchies of cgroups are mounted.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc is mounted");
    let place = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        let kind = words.next()?;
        kind.starts_with("cgroup")
            .then(|| Path::new(place).to_owned())
    };
    mounts.lines().filter_map(place).collect()
}
