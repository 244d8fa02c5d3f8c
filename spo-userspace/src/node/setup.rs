//! What only root can do on a node, before the daemon starts: the folders, the link through which
//! the kubelet finds profiles, and the profiles that the operator itself needs.
//!
//! Paths are the host's, and are opened below the folder where the host is mounted, links
//! included: a link of the host that begins with `/` leads to the host's root, not to ours.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use thiserror::Error;

/// The daemon's user and group.
pub const DAEMON: u32 = 65535;
/// Where the profiles of the nodes are.
pub const ROOT: &str = "/var/lib/security-profiles-operator";
/// Where the kubelet's files are, unless it was told otherwise.
pub const KUBELET: &str = "/var/lib/kubelet";
/// Says in the root folder where the kubelet's files are.
pub const KUBELET_CONFIG: &str = "kubelet-config.json";
/// The link in the kubelet's folder of profiles.
pub(super) const LINK: &str = "operator";
/// The profile that confines the daemon, in the kubelet's folder of profiles.
pub const OWN_PROFILE: &str = "security-profiles-operator.json";
/// Beside it, that of the recorder.
pub const RECORDER_PROFILE: &str = "bpf-recorder.json";
/// And that of the reader of audit records.
pub const ENRICHER_PROFILE: &str = "log-enricher.json";
/// And that of the verifier.
pub const VERIFIER_PROFILE: &str = "verifier.json";
/// The root folder's mode.
const ROOT_MODE: u32 = 0o744;
/// What is written before it gets its name.
pub(super) const UNFINISHED: &str = ".spo-setup";

/// What to set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where the host's root is mounted.
    pub host: PathBuf,
    /// The folder of profiles, on the host.
    pub root: PathBuf,
    /// The kubelet's folder, on the host.
    pub kubelet: PathBuf,
    /// The folder with what to copy for the operator's own use, here and not on the host.
    pub copies: PathBuf,
}

/// Why it could not be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    /// Something could not be done.
    #[error("cannot {attempt} {path}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// With what, as the host names it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that is not ours is where the link must be.
    #[error(
        "{path} is there and is no link, so it is not ours: move it away, and check that no pod uses the profiles in it"
    )]
    Stranger {
        /// Where the link must be.
        path: PathBuf,
    },
    /// A path that does not begin at the root, or goes upwards.
    #[error("{path} must begin with / and must not have the part ..")]
    Path {
        /// The path.
        path: PathBuf,
    },
}

/// What was done, for people; nothing where all was as it should be.
pub type Done = Vec<String>;

impl Setup {
    /// Sets it up. What is as it should be is left alone.
    pub fn run(&self) -> Result<Done, SetupError> {
        let Self {
            host,
            root,
            kubelet,
            copies,
        } = self;
        for path in [root, kubelet] {
            check(path)?;
        }
        let mut done = Done::new();
        let host = open(CWD, host, ResolveFlags::empty()).map_err(io_error("open", host))?;
        let seccomp = kubelet.join("seccomp");
        let seccomp_folder = make_folders(&host, &seccomp, &mut done)?;
        let root_folder = make_folders(&host, root, &mut done)?;
        own(&root_folder, root, &mut done)?;
        link(&seccomp_folder, &seccomp, root, &mut done)?;
        let config = format!("{{\"kubeletDir\":{}}}", quoted(kubelet));
        let config_path = root.join(KUBELET_CONFIG);
        if write(&root_folder, KUBELET_CONFIG, config.as_bytes())
            .map_err(io_error("write", &config_path))?
        {
            done.push(format!("wrote {}", config_path.display()));
        }
        let user = Some(Uid::from_raw(DAEMON));
        let group = Some(Gid::from_raw(DAEMON));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&root_folder, KUBELET_CONFIG, user, group, flags)
            .map_err(|error| io_error("give to the daemon", &config_path)(error.into()))?;
        copy(copies, &seccomp_folder, &seccomp, &mut done)?;
        Ok(done)
    }
}

fn io_error(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SetupError {
    let path = path.to_owned();
    move |source| SetupError::Io {
        attempt,
        path,
        source,
    }
}

pub(super) fn check(path: &Path) -> Result<(), SetupError> {
    let upwards = path
        .components()
        .any(|component| component == Component::ParentDir);
    if path.is_relative() || upwards {
        let path = path.to_owned();
        return Err(SetupError::Path { path });
    }
    Ok(())
}

/// A folder; with `IN_ROOT`, `/` is the folder that is open.
fn open(at: impl AsFd, path: &Path, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(
        at,
        path,
        flags,
        Mode::empty(),
        resolve,
    )?)
}

/// A folder of the host, which is made with all above it where it is missing.
fn make_folders(host: &OwnedFd, path: &Path, done: &mut Done) -> Result<OwnedFd, SetupError> {
    let mut above = PathBuf::from("/");
    let mut folder = open(host, &above, ResolveFlags::IN_ROOT).map_err(io_error("open", &above))?;
    for component in path.components().skip(1) {
        above.push(component);
        folder = match open(host, &above, ResolveFlags::IN_ROOT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mode = Mode::from_raw_mode(0o755);
                rustix::fs::mkdirat(&folder, component.as_os_str(), mode)
                    .map_err(|error| io_error("make the folder", &above)(error.into()))?;
                done.push(format!("made the folder {}", above.display()));
                open(host, &above, ResolveFlags::IN_ROOT)
            }
            opened => opened,
        }
        .map_err(io_error("open", &above))?;
    }
    Ok(folder)
}

/// Gives the root folder to the daemon.
fn own(folder: &OwnedFd, path: &Path, done: &mut Done) -> Result<(), SetupError> {
    let change = || -> io::Result<bool> {
        let before = rustix::fs::fstat(folder)?;
        let mode = Mode::from_raw_mode(before.st_mode);
        if (before.st_uid, before.st_gid) == (DAEMON, DAEMON)
            && mode == Mode::from_raw_mode(ROOT_MODE)
        {
            return Ok(false);
        }
        let (user, group) = (Uid::from_raw(DAEMON), Gid::from_raw(DAEMON));
        rustix::fs::fchown(folder, Some(user), Some(group))?;
        rustix::fs::fchmod(folder, Mode::from_raw_mode(ROOT_MODE))?;
        Ok(true)
    };
    if change().map_err(io_error("give to the daemon", path))? {
        done.push(format!("gave {} to user {DAEMON}", path.display()));
    }
    Ok(())
}

/// Makes the link, or mends it.
fn link(folder: &OwnedFd, path: &Path, root: &Path, done: &mut Done) -> Result<(), SetupError> {
    let place = path.join(LINK);
    let failed = |error: Errno| io_error("make the link", &place)(error.into());
    match rustix::fs::statat(folder, LINK, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        Err(error) => return Err(failed(error)),
        Ok(data) if !FileType::from_raw_mode(data.st_mode).is_symlink() => {
            return Err(SetupError::Stranger { path: place });
        }
        Ok(_) => {
            let target = rustix::fs::readlinkat(folder, LINK, Vec::new()).map_err(failed)?;
            if target.as_bytes() == root.as_os_str().as_bytes() {
                return Ok(());
            }
        }
    }
    // A link is replaced at once, so that no pod finds it missing.
    remove(folder, UNFINISHED).map_err(io_error("remove", &path.join(UNFINISHED)))?;
    rustix::fs::symlinkat(root, folder, UNFINISHED).map_err(failed)?;
    rustix::fs::renameat(folder, UNFINISHED, folder, LINK).map_err(failed)?;
    done.push(format!("linked {} to {}", place.display(), root.display()));
    Ok(())
}

fn remove(folder: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(error) if error != Errno::NOENT => Err(error.into()),
        _ => Ok(()),
    }
}

/// Copies the files of a mounted `ConfigMap`, whose own bookkeeping begins with two dots. Without
/// the folder there is nothing to copy.
fn copy(from: &Path, folder: &OwnedFd, path: &Path, done: &mut Done) -> Result<(), SetupError> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            done.push(format!(
                "{} is not there: nothing is copied",
                from.display()
            ));
            return Ok(());
        }
        entries => entries.map_err(io_error("read the folder", from))?,
    };
    for entry in entries {
        let entry = entry.map_err(io_error("read the folder", from))?;
        let source = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') || !source.is_file() {
            continue;
        }
        let content = fs::read(&source).map_err(io_error("read", &source))?;
        let target = path.join(&name);
        if write(folder, &name, &content).map_err(io_error("write", &target))? {
            done.push(format!("wrote {}", target.display()));
        }
    }
    Ok(())
}

/// Puts a file there, unless it is there; whether it was not.
fn write(folder: &OwnedFd, name: &str, content: &[u8]) -> io::Result<bool> {
    if read(folder, name).is_ok_and(|before| before == content) {
        return Ok(false);
    }
    remove(folder, UNFINISHED)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let mut file = File::from(rustix::fs::openat(folder, UNFINISHED, flags, mode)?);
    file.write_all(content)?;
    rustix::fs::fchmod(&file, mode)?;
    file.sync_all()?;
    rustix::fs::renameat(folder, UNFINISHED, folder, name)?;
    Ok(true)
}

fn read(folder: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let mut content = Vec::new();
    File::from(file).read_to_end(&mut content)?;
    Ok(content)
}

/// A path as text of JSON.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn setup() -> (tempfile::TempDir, Setup) {
        let folder = tempfile::tempdir().unwrap();
        let copies = folder.path().join("copies");
        fs::create_dir_all(copies.join("..data")).unwrap();
        fs::write(copies.join("..data/a.json"), "{}").unwrap();
        symlink("..data/a.json", copies.join("a.json")).unwrap();
        let host = folder.path().join("host");
        fs::create_dir_all(host.join("mnt/kubelet")).unwrap();
        let setup = Setup {
            host,
            root: PathBuf::from(ROOT),
            kubelet: PathBuf::from(KUBELET),
            copies,
        };
        (folder, setup)
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in ["var/lib/x", "/var/../../etc"] {
            let (_folder, mut setup) = setup();
            setup.root = PathBuf::from(path);
            assert!(
                matches!(setup.run(), Err(SetupError::Path { .. })),
                "{path}"
            );
        }
    }

    #[test]
    fn root_sets_up_once_and_mends() {
        if !nix::unistd::Uid::effective().is_root() {
            eprintln!("skipped: node-setup: needs root");
            return;
        }
        let (_folder, setup) = setup();
        // The host's own link, which is absolute.
        fs::create_dir_all(setup.host.join("var/lib")).unwrap();
        symlink("/mnt/kubelet", setup.host.join("var/lib/kubelet")).unwrap();
        let done = setup.run().unwrap();
        assert_eq!(done.len(), 6, "{done:#?}");
        let root = setup.host.join("var/lib/security-profiles-operator");
        let data = fs::metadata(&root).unwrap();
        assert_eq!((data.uid(), data.gid()), (DAEMON, DAEMON));
        assert_eq!(data.mode() & 0o7777, 0o744);
        let config = fs::read_to_string(root.join(KUBELET_CONFIG)).unwrap();
        assert_eq!(config, r#"{"kubeletDir":"/var/lib/kubelet"}"#);
        let seccomp = setup.host.join("mnt/kubelet/seccomp");
        let link = seccomp.join("operator");
        assert_eq!(fs::read_link(&link).unwrap(), Path::new(ROOT));
        assert_eq!(fs::read(seccomp.join("a.json")).unwrap(), b"{}");
        assert_eq!(setup.run().unwrap(), [""; 0]);

        fs::remove_file(&link).unwrap();
        symlink("/elsewhere", &link).unwrap();
        assert_eq!(setup.run().unwrap().len(), 1);
        assert_eq!(fs::read_link(&link).unwrap(), Path::new(ROOT));

        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        fs::write(link.join("theirs"), "x").unwrap();
        let error = setup.run().unwrap_err();
        assert!(matches!(error, SetupError::Stranger { .. }), "{error}");
        assert!(link.join("theirs").exists());
    }
}
