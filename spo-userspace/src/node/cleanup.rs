//! Takes from a node what [`super::setup`] and the daemon made there, as root, when nobody is to
//! install profiles any more.
//!
//! What others put into the folder of profiles stays, and so does then the link through which the
//! kubelet finds it. Paths are the host's, as in [`super::setup`].

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::profiles::{Cleared, clear};
use super::setup::{
    ENRICHER_PROFILE, KUBELET_CONFIG, LINK, OWN_PROFILE, RECORDER_PROFILE, SetupError, UNFINISHED,
    VERIFIER_PROFILE, check,
};

/// What the operator's `ConfigMap` put into the kubelet's folder of profiles, ours and that of the
/// reference, whose place we may have taken.
const COPIES: [&str; 11] = [
    OWN_PROFILE,
    RECORDER_PROFILE,
    ENRICHER_PROFILE,
    VERIFIER_PROFILE,
    "bpfrecorder-apparmor.yaml",
    "json-enricher-log-volume-mount-path",
    "json-enricher-log-volume-source.json",
    "selinuxd-image-mapping.json",
    "selinuxd.cil",
    "selinuxrecording.cil",
    "spo-apparmor.yaml",
];
/// Names that a [`Report`] has; a kubelet passes on at most 4096 bytes of it.
const MOST: usize = 6;

/// What to clean up.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// Where the host's root is mounted.
    pub host: PathBuf,
    /// The folder of profiles, on the host.
    pub root: PathBuf,
    /// The kubelet's folder, on the host.
    pub kubelet: PathBuf,
    /// Files of profiles that stay.
    pub keep: BTreeSet<String>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Files, links and folders that are gone.
    pub removed: usize,
    /// Some of our files that were to stay.
    pub kept: Vec<String>,
    /// How many there are.
    pub kept_count: usize,
    /// Some of what is in the folder and is not ours.
    pub strangers: Vec<String>,
    /// How many there are.
    pub strangers_count: usize,
}

/// Why something is left.
#[derive(Debug, Error)]
pub enum CleanupError {
    /// A path that cannot be right.
    #[error(transparent)]
    Path(#[from] SetupError),
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
}

impl Cleanup {
    /// Cleans up. What is gone already is no error.
    pub fn run(&self) -> Result<Report, CleanupError> {
        let Self {
            host,
            root,
            kubelet,
            keep,
        } = self;
        check(root)?;
        check(kubelet)?;
        let host = open(CWD, host, ResolveFlags::empty())
            .and_then(|host| host.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
            .map_err(failed("open", host))?;
        let seccomp_path = kubelet.join("seccomp");
        let seccomp = folder(&host, &seccomp_path)?;
        let mut report = Report::default();
        if let Some(folder) = &seccomp {
            for name in COPIES.into_iter().chain([UNFINISHED]) {
                let path = seccomp_path.join(name);
                let removed = remove(folder, name, AtFlags::empty());
                report.removed += usize::from(removed.map_err(failed("remove", &path))?);
            }
        }
        let mut is_empty = true;
        if let Some(folder) = folder(&host, root)? {
            is_empty = empty(&folder, root, keep, &mut report)?;
        }
        if !is_empty {
            return Ok(report);
        }
        if let Some(folder) = &seccomp {
            report.removed += usize::from(unlink(folder, &seccomp_path, root)?);
        }
        if let (Some(above), Some(name)) = (root.parent(), root.file_name())
            && let Some(above) = self::folder(&host, above)?
        {
            match remove(&above, Path::new(name), AtFlags::REMOVEDIR) {
                Ok(removed) => report.removed += usize::from(removed),
                // Somebody led the folder elsewhere, and that is not ours.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOTDIR) => {
                    report.strangers = vec![root.display().to_string()];
                    report.strangers_count = 1;
                }
                Err(error) => return Err(failed("remove", root)(error)),
            }
        }
        Ok(report)
    }
}

/// Takes what is ours out of the folder of profiles; whether nothing else is in it.
fn empty(
    folder: &OwnedFd,
    path: &Path,
    keep: &BTreeSet<String>,
    report: &mut Report,
) -> Result<bool, CleanupError> {
    let Cleared { removed, kept } = clear(folder, keep).map_err(failed("clear", path))?;
    report.removed += removed;
    for name in [KUBELET_CONFIG, UNFINISHED] {
        let removed = remove(folder, name, AtFlags::empty());
        report.removed += usize::from(removed.map_err(failed("remove", &path.join(name)))?);
    }
    let mut strangers = names(folder).map_err(failed("read", path))?;
    strangers.retain(|name| !kept.contains(name) && (kept.is_empty() || name != ".spo-written"));
    let is_empty = kept.is_empty() && strangers.is_empty();
    report.kept_count = kept.len();
    report.strangers_count = strangers.len();
    report.kept = kept.into_iter().take(MOST).collect();
    report.strangers = strangers.into_iter().take(MOST).collect();
    Ok(is_empty)
}

fn names(folder: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Removes the link to the folder of profiles; one that leads elsewhere is not ours.
fn unlink(folder: &OwnedFd, path: &Path, root: &Path) -> Result<bool, CleanupError> {
    use std::os::unix::ffi::OsStrExt as _;
    let place = path.join(LINK);
    match rustix::fs::readlinkat(folder, LINK, Vec::new()) {
        Ok(target) if target.as_bytes() == root.as_os_str().as_bytes() => {
            remove(folder, LINK, AtFlags::empty()).map_err(failed("remove", &place))
        }
        // Not there, or no link.
        Ok(_) | Err(Errno::NOENT | Errno::INVAL) => Ok(false),
        Err(error) => Err(failed("read", &place)(error.into())),
    }
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CleanupError {
    let path = path.to_owned();
    move |source| CleanupError::Io {
        attempt,
        path,
        source,
    }
}

/// A folder of the host, if it is there.
fn folder(host: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>, CleanupError> {
    open(host, path, ResolveFlags::IN_ROOT).map_err(failed("open", path))
}

fn open(
    at: impl std::os::fd::AsFd,
    path: &Path,
    resolve: ResolveFlags,
) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    match rustix::fs::openat2(at, path, flags, Mode::empty(), resolve) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether it was there.
fn remove(folder: &OwnedFd, name: impl rustix::path::Arg, flags: AtFlags) -> io::Result<bool> {
    match rustix::fs::unlinkat(folder, name, flags) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::node::profiles::Profiles;

    /// A host with an installation: two profiles of ours, and the kubelet's own things.
    fn host() -> (tempfile::TempDir, Cleanup) {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("var/lib/spo");
        let seccomp = host.path().join("var/lib/kubelet/seccomp");
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&seccomp).unwrap();
        symlink("/var/lib/spo", seccomp.join("operator")).unwrap();
        fs::write(seccomp.join("security-profiles-operator.json"), "{}").unwrap();
        fs::write(seccomp.join("theirs.json"), "{}").unwrap();
        fs::write(root.join("kubelet-config.json"), "{}").unwrap();
        fs::write(root.join(".spo-new-1-1"), "half").unwrap();
        let profiles = Profiles::at(root);
        profiles.write("a.json", b"a").unwrap();
        profiles.write("b.json", b"b").unwrap();
        let cleanup = Cleanup {
            host: host.path().to_owned(),
            root: "/var/lib/spo".into(),
            kubelet: "/var/lib/kubelet".into(),
            keep: BTreeSet::new(),
        };
        (host, cleanup)
    }

    fn all(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                found.extend(all(&path));
            }
            found.push(path.to_string_lossy().into_owned());
        }
        found.sort();
        found
    }

    fn left(host: &tempfile::TempDir) -> Vec<String> {
        let begin = format!("{}/var/lib/", host.path().display());
        let paths = all(host.path());
        let short = paths.iter().filter_map(|path| path.strip_prefix(&begin));
        short.map(str::to_owned).collect()
    }

    #[test]
    fn nothing_of_ours_is_left_and_it_can_be_done_again() {
        let (host, cleanup) = host();
        let report = cleanup.run().unwrap();
        // Two profiles, a half one, the journal, the configuration, a copy, the link, the folder.
        assert_eq!(report.removed, 8);
        let theirs = ["kubelet", "kubelet/seccomp", "kubelet/seccomp/theirs.json"];
        assert_eq!(left(&host), theirs);
        assert_eq!(cleanup.run().unwrap(), Report::default());
    }

    #[test]
    fn what_is_kept_and_what_is_not_ours_stays_reachable() {
        let (host, mut cleanup) = host();
        let root = host.path().join("var/lib/spo");
        cleanup.keep.insert("b.json".to_owned());
        fs::create_dir(root.join("older")).unwrap();
        let report = cleanup.run().unwrap();
        assert_eq!((report.kept_count, &report.kept[0][..]), (1, "b.json"));
        assert_eq!(report.strangers, ["older"]);
        let linked = host.path().join("var/lib/kubelet/seccomp/operator");
        assert!(linked.is_symlink());
        // Another one of that name is not ours.
        fs::write(root.join("a.json"), "theirs").unwrap();
        cleanup.keep.clear();
        let report = cleanup.run().unwrap();
        assert_eq!(report.strangers, ["a.json", "older"]);
        assert!(!root.join("b.json").exists() && linked.is_symlink());
        fs::remove_dir(root.join("older")).unwrap();
        fs::remove_file(root.join("a.json")).unwrap();
        cleanup.run().unwrap();
        assert!(!root.exists() && !linked.is_symlink());
    }

    #[test]
    fn nothing_is_followed_out_of_the_folders() {
        let (host, cleanup) = host();
        let root = host.path().join("var/lib/spo");
        let victim = host.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        fs::remove_file(root.join("a.json")).unwrap();
        symlink(&victim, root.join("a.json")).unwrap();
        let link = host.path().join("var/lib/kubelet/seccomp/operator");
        fs::remove_file(&link).unwrap();
        symlink("/elsewhere", &link).unwrap();
        cleanup.run().unwrap();
        assert!(victim.exists() && link.is_symlink() && !root.exists());
    }
}
