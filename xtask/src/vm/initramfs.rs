//! Everything that a guest has: this machine's own files, at the paths that they have here.

use std::fs::{self, File};
use std::io::{BufWriter, IntoInnerError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use super::{END, START};
use crate::env::which;
use crate::libraries;

/// Programs that tests record or need, if this machine has them; busybox's follow after them on
/// the guest's search path.
const PROGRAMS: &[&str] = &[
    "sh",
    "bash",
    "ls",
    "cat",
    "grep",
    "sort",
    "wc",
    "head",
    "tr",
    "seq",
    "true",
    "sleep",
    "timeout",
    "env",
    "id",
    "kill",
    "strace",
    "mount",
    "unshare",
    "nsenter",
    "setpriv",
    "setsid",
    "chrt",
    "taskset",
    "curl",
    "redis-server",
];

/// Directories of a distribution with one tree under /usr are links.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// What a guest runs.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Programs, one after the other; the first failure counts.
    pub(crate) programs: Vec<PathBuf>,
    /// Their arguments, the same for all.
    pub(crate) args: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    /// Further files and directories.
    pub(crate) files: Vec<PathBuf>,
    /// Where they run; created if need be.
    pub(crate) directory: PathBuf,
}

impl Guest {
    /// Writes the initramfs.
    pub(crate) fn write(&self, to: &Path) -> Result<()> {
        let mut archive = Archive::default();
        for name in MERGED {
            let path = Path::new("/").join(name);
            if let Ok(target) = fs::read_link(&path) {
                archive.link(&path, &target);
                archive.directory(&Path::new("/").join(target));
            }
        }
        for dir in [
            "/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp", "/root", "/mnt", "/busybox",
        ] {
            archive.directory(Path::new(dir));
        }
        archive.character_device(Path::new("/dev/console"), 0o600, 5, 1);
        archive.text(Path::new("/etc/passwd"), 0o644, PASSWD);
        archive.text(Path::new("/etc/group"), 0o644, GROUP);
        archive.text(Path::new("/etc/hosts"), 0o644, "127.0.0.1 localhost\n");
        archive.directory(&self.directory);

        let busybox = which("busybox").context("busybox is not there")?;
        archive.file(Path::new("/busybox/busybox"), &busybox)?;
        let programs = PROGRAMS.iter().filter_map(|program| which(program));
        for program in programs.chain(self.programs.iter().cloned()) {
            add_program(&mut archive, &program)?;
        }
        for file in &self.files {
            add_tree(&mut archive, file)?;
        }
        archive.text(Path::new("/init"), 0o755, &self.init());

        let context = || format!("failed to write {}", to.display());
        let mut out = BufWriter::new(File::create(to).with_context(context)?);
        archive.write(&mut out)?;
        out.into_inner()
            .map_err(IntoInnerError::into_error)
            .with_context(context)
            .map(drop)
    }

    /// The guest's first process.
    fn init(&self) -> String {
        let lines = |lines: Vec<String>| lines.join("\n");
        let exports = self
            .variables
            .iter()
            .map(|(name, value)| format!("export {name}={}", quoted(value)));
        let runs = self.programs.iter().map(|program| {
            let words = self.args.iter().map(|arg| quoted(arg));
            let words: Vec<_> = [quoted(&program.to_string_lossy())]
                .into_iter()
                .chain(words)
                .collect();
            format!("run {}", words.join(" "))
        });
        format!(
            r#"#!/busybox/busybox sh
/busybox/busybox --install -s /busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/busybox
export HOME=/root TERM=dumb RUST_BACKTRACE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod 1777 /tmp /dev/shm
hostname guest
ip link set lo up
{exports}
cd {directory}
result=0
run() {{
    "$@" </dev/null || {{ code=$?; [ $result -ne 0 ] || result=$code; }}
}}
echo "{START} $(uname -r)"
{runs}
echo
echo "{END}$result"
echo o > /proc/sysrq-trigger
sleep 60
"#,
            exports = lines(exports.collect()),
            runs = lines(runs.collect()),
            directory = quoted(&self.directory.to_string_lossy()),
        )
    }
}

/// A program at its own path, with the libraries that it is linked to.
fn add_program(archive: &mut Archive, program: &Path) -> Result<()> {
    add_file(archive, program)?;
    for library in libraries::of(program) {
        add_file(archive, &library)?;
    }
    Ok(())
}

/// A file under its own name; the directory is the real one, since links stand in the archive.
fn add_file(archive: &mut Archive, file: &Path) -> Result<()> {
    let context = || format!("failed to find {}", file.display());
    let name = file.file_name().with_context(context)?;
    let dir = fs::canonicalize(file.parent().with_context(context)?).with_context(context)?;
    let path = dir.join(name);
    if archive.contains(&path) {
        Ok(())
    } else {
        archive.file(&path, file)
    }
}

fn add_tree(archive: &mut Archive, path: &Path) -> Result<()> {
    if !path.is_dir() {
        return if is_program(path)? {
            add_program(archive, path)
        } else {
            add_file(archive, path)
        };
    }
    archive.directory(path);
    let context = || format!("failed to read {}", path.display());
    for entry in path.read_dir().with_context(context)? {
        add_tree(archive, &entry.with_context(context)?.path())?;
    }
    Ok(())
}

fn is_program(path: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let data =
        fs::metadata(path).with_context(|| format!("failed to look at {}", path.display()))?;
    Ok(data.permissions().mode() & 0o111 != 0)
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::Guest;

    #[test]
    fn the_first_process_runs_each_program_and_says_how_it_ended() {
        let guest = Guest {
            programs: vec![PathBuf::from("/t/one"), PathBuf::from("/t/it's")],
            args: vec!["--test-threads=1".to_owned()],
            variables: vec![("SPO_TEST_TIER".to_owned(), "vm".to_owned())],
            files: Vec::new(),
            directory: PathBuf::from("/t"),
        };
        let init = guest.init();
        assert!(
            init.contains("export SPO_TEST_TIER='vm'\ncd '/t'\n"),
            "{init}"
        );
        assert!(
            init.contains(
                "run '/t/one' '--test-threads=1'\nrun '/t/it'\\''s' '--test-threads=1'\n"
            ),
            "{init}"
        );
        assert!(init.contains("echo \"spo-vm: exit=$result\"\n"), "{init}");
    }
}
