//! The folder in which the kubelet finds the profiles of this node.
//!
//! A file is there whole or not at all: it is written under another name, flushed, read back and
//! compared, and then renamed. Nothing is followed out of the folder: the folder is opened once an
//! operation, and files are named relative to it, without following links.
//!
//! # Whose is a file?
//!
//! The folder is the operator's, but people put files into it. The journal `.spo-written` in it
//! has the names that we wrote: `+name` stands there before the file does, `-name` after the file
//! is gone. So a file whose profile vanished while nobody looked is known to be ours, and one that
//! a stranger put there is not touched. Without the journal nothing is known to be ours, and
//! nothing is removed.

mod clear;
mod journal;
mod watch;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, AtFlags, CWD, Dir, Mode, OFlags};
use thiserror::Error;

pub use self::clear::{Cleared, clear};
use self::journal::Journal;
pub use self::watch::{Noticed, watch};
use super::setup::KUBELET_CONFIG;

/// How the names of files begin that are still being written.
const UNFINISHED: &str = ".spo-new-";
/// The mode of a profile's file: the runtime may read it, and so may everybody.
const FILE_MODE: u32 = 0o644;
/// The longest name of a file on Linux (`NAME_MAX` in `include/uapi/linux/limits.h`).
pub const LONGEST_NAME: usize = 255;
/// No profile is as large: an object of Kubernetes has at most 1.5 MB.
const LARGEST: u64 = 16 << 20;

/// Why something could not be done in the folder.
#[derive(Debug, Error)]
pub enum ProfilesError {
    /// The folder is missing, or we may not do in it what we must.
    #[error("the folder {path} cannot be used")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read, written or removed.
    #[error("cannot {attempt} {name}")]
    File {
        /// What was attempted.
        attempt: &'static str,
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A file was written, and another content was read back.
    #[error("{name} did not read back as it was written: the disk may be failing")]
    Differs {
        /// The file.
        name: String,
    },
    /// No profile's file can have this name.
    #[error("{name:?} cannot be the name of a profile's file")]
    Name {
        /// The name.
        name: String,
    },
}

/// What has a name in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Missing,
    /// A file with this content, and with the mode of a profile.
    File(Vec<u8>),
    /// Something else: a link, a folder, a file with another mode, or one that is too large.
    Other,
}

/// The folder.
#[derive(Debug)]
pub struct Profiles {
    path: PathBuf,
    /// What we must be able to do in it.
    access: Access,
    journal: Mutex<Journal>,
    unique: AtomicU64,
}

impl Profiles {
    /// The folder at a path, which need not exist yet.
    pub fn at(path: PathBuf) -> Self {
        Self::with(path, Access::WRITE_OK | Access::EXEC_OK)
    }

    /// The same, for whoever only looks: it may be one that nobody here can write into.
    pub fn to_read(path: PathBuf) -> Self {
        Self::with(path, Access::EXEC_OK)
    }

    fn with(path: PathBuf, access: Access) -> Self {
        Self {
            path,
            access,
            journal: Mutex::default(),
            unique: AtomicU64::new(0),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What has a name in it.
    pub fn read(&self, name: &str) -> Result<Entry, ProfilesError> {
        check_name(name)?;
        let folder = self.open()?;
        read_entry(&folder, name).map_err(in_file("read", name))
    }

    /// When what has a name in it changed last.
    pub fn changed(&self, name: &str) -> Result<SystemTime, ProfilesError> {
        check_name(name)?;
        let folder = self.open()?;
        let data = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| in_file("look at", name)(error.into()))?;
        let seconds = Duration::from_secs(u64::try_from(data.st_mtime).unwrap_or(0));
        let rest = Duration::from_nanos(data.st_mtime_nsec);
        Ok(SystemTime::UNIX_EPOCH + seconds + rest)
    }

    /// Puts a profile there, in the place of whatever had the name.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), ProfilesError> {
        check_name(name)?;
        let folder = self.open()?;
        self.journal(&folder, |journal| journal.add(&folder, name))
            .map_err(in_file("note in the journal", name))?;
        let number = self.unique.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{UNFINISHED}{}-{number}", std::process::id());
        let result = put(&folder, &unfinished, name, content);
        if result.is_err() {
            // It may not even have been made.
            rustix::fs::unlinkat(&folder, &unfinished, AtFlags::empty()).ok();
        }
        match result {
            Err(Put::Failed(source)) => Err(in_file("write", name)(source)),
            Err(Put::Differs) => Err(ProfilesError::Differs {
                name: name.to_owned(),
            }),
            Ok(()) => Ok(()),
        }
    }

    /// Notes that a file is ours that was there already.
    pub fn adopt(&self, name: &str) -> Result<(), ProfilesError> {
        check_name(name)?;
        let folder = self.open()?;
        self.journal(&folder, |journal| journal.add(&folder, name))
            .map_err(in_file("note in the journal", name))
    }

    /// Removes a profile. That there is none is no error.
    pub fn remove(&self, name: &str) -> Result<(), ProfilesError> {
        check_name(name)?;
        let folder = self.open()?;
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Err(error) if error != rustix::io::Errno::NOENT => {
                return Err(in_file("remove", name)(error.into()));
            }
            _ => {}
        }
        rustix::fs::fsync(&folder)
            .map_err(io::Error::from)
            .and_then(|()| self.journal(&folder, |journal| journal.remove(&folder, name)))
            .map_err(in_file("remove", name))
    }

    /// The names that we wrote and did not remove.
    pub fn ours(&self) -> Result<Vec<String>, ProfilesError> {
        let folder = self.open()?;
        self.journal(&folder, |journal| Ok(journal.names()))
            .map_err(in_file("read", journal::NAME))
    }

    /// Whether we wrote a file of that name and did not remove it.
    pub fn is_ours(&self, name: &str) -> Result<bool, ProfilesError> {
        let folder = self.open()?;
        self.journal(&folder, |journal| Ok(journal.has(name)))
            .map_err(in_file("read", journal::NAME))
    }

    /// Removes what interrupted writes left. Only for when nothing is being written.
    pub fn remove_unfinished(&self) -> Result<usize, ProfilesError> {
        let folder = self.open()?;
        let list = || -> io::Result<usize> {
            let mut removed = 0;
            for entry in Dir::read_from(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_bytes().starts_with(UNFINISHED.as_bytes()) {
                    rustix::fs::unlinkat(&folder, name, AtFlags::empty())?;
                    removed += 1;
                }
            }
            Ok(removed)
        };
        list().map_err(in_file("remove", UNFINISHED))
    }

    /// The folder, if it is there and we may do in it what we must.
    fn open(&self) -> Result<OwnedFd, ProfilesError> {
        let open = || -> rustix::io::Result<OwnedFd> {
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
            let folder = rustix::fs::openat(CWD, &self.path, flags, Mode::empty())?;
            // A container still sees a folder that was removed outside of it.
            if rustix::fs::fstat(&folder)?.st_nlink == 0 {
                return Err(rustix::io::Errno::NOENT);
            }
            rustix::fs::accessat(&folder, ".", self.access, AtFlags::EACCESS)?;
            Ok(folder)
        };
        open().map_err(|error| ProfilesError::Folder {
            path: self.path.clone(),
            source: error.into(),
        })
    }

    /// The journal of the folder that is open: another folder may have come in its place.
    fn journal<T>(
        &self,
        folder: &OwnedFd,
        work: impl FnOnce(&mut Journal) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut journal = match self.journal.lock() {
            Ok(journal) => journal,
            Err(poisoned) => poisoned.into_inner(),
        };
        journal.belong_to(folder)?;
        work(&mut journal)
    }
}

/// Whether it is the name of one file in the folder, and none of ours that are no profiles.
fn check_name(name: &str) -> Result<(), ProfilesError> {
    let bad = name.is_empty()
        || name.len() > LONGEST_NAME
        || name == KUBELET_CONFIG
        || name.starts_with('.')
        || name.contains(['/', '\0', '\n']);
    if bad {
        let name = name.to_owned();
        return Err(ProfilesError::Name { name });
    }
    Ok(())
}

fn in_file(attempt: &'static str, name: &str) -> impl FnOnce(io::Error) -> ProfilesError {
    let name = name.to_owned();
    move |source| ProfilesError::File {
        attempt,
        name,
        source,
    }
}

enum Put {
    Failed(io::Error),
    Differs,
}

impl<E: Into<io::Error>> From<E> for Put {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn put(folder: &OwnedFd, unfinished: &str, name: &str, content: &[u8]) -> Result<(), Put> {
    write_new(folder, unfinished, content)?;
    if read_entry(folder, unfinished)? != Entry::File(content.to_vec()) {
        return Err(Put::Differs);
    }
    rustix::fs::renameat(folder, unfinished, folder, name)?;
    rustix::fs::fsync(folder)?;
    Ok(())
}

/// A new file, flushed to the disk.
fn write_new(folder: &OwnedFd, name: &str, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(FILE_MODE);
    let mut file = File::from(rustix::fs::openat(folder, name, flags, mode)?);
    file.write_all(content)?;
    // Whatever the mask was.
    rustix::fs::fchmod(&file, mode)?;
    file.sync_all()
}

fn read_entry(folder: impl AsFd, name: &str) -> io::Result<Entry> {
    use rustix::io::Errno;
    // A pipe must not make us wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Entry::Missing),
        // A link, a socket, or another's file that we may replace but not read.
        Err(Errno::LOOP | Errno::NXIO | Errno::ACCESS) => return Ok(Entry::Other),
        Err(error) => return Err(error.into()),
    };
    let data = rustix::fs::fstat(&file)?;
    let is_file = rustix::fs::FileType::from_raw_mode(data.st_mode).is_file();
    if !is_file || Mode::from_raw_mode(data.st_mode) != Mode::from_raw_mode(FILE_MODE) {
        return Ok(Entry::Other);
    }
    let mut content = Vec::new();
    File::from(file)
        .take(LARGEST + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Ok(Entry::Other);
    }
    Ok(Entry::File(content))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, Profiles) {
        let folder = tempfile::tempdir().unwrap();
        let profiles = Profiles::at(folder.path().to_owned());
        (folder, profiles)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_written_read_and_removed() {
        let (folder, profiles) = folder();
        assert_eq!(profiles.read("a.json").unwrap(), Entry::Missing);
        profiles.write("a.json", b"one").unwrap();
        profiles.write("a.json", b"two").unwrap();
        let file = folder.path().join("a.json");
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o644);
        let entry = Entry::File(b"two".to_vec());
        assert_eq!(profiles.read("a.json").unwrap(), entry);
        assert_eq!(names(folder.path()), [".spo-written", "a.json"]);
        assert!(profiles.is_ours("a.json").unwrap());
        profiles.remove("a.json").unwrap();
        profiles.remove("a.json").unwrap();
        assert!(!profiles.is_ours("a.json").unwrap());
        assert_eq!(names(folder.path()), [".spo-written"]);
    }

    #[test]
    fn nothing_is_followed_out_of_the_folder() {
        let (folder, profiles) = folder();
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, folder.path().join("a.json")).unwrap();
        assert_eq!(profiles.read("a.json").unwrap(), Entry::Other);
        profiles.write("a.json", b"text").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        assert!(!folder.path().join("a.json").is_symlink());
        for name in [
            "../victim",
            "/etc/passwd",
            ".hidden",
            "",
            "a\nb",
            KUBELET_CONFIG,
        ] {
            assert!(
                matches!(profiles.write(name, b""), Err(ProfilesError::Name { .. })),
                "{name:?}"
            );
            assert!(profiles.remove(name).is_err(), "{name:?}");
        }
        let long = "a".repeat(LONGEST_NAME);
        profiles.write(&long, b"long").unwrap();
        assert!(profiles.write(&format!("{long}a"), b"").is_err());
    }

    #[test]
    fn another_mode_and_a_folder_are_no_profiles() {
        let (folder, profiles) = folder();
        profiles.write("a.json", b"text").unwrap();
        let file = folder.path().join("a.json");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(profiles.read("a.json").unwrap(), Entry::Other);
        fs::create_dir(folder.path().join("b.json")).unwrap();
        assert_eq!(profiles.read("b.json").unwrap(), Entry::Other);
        let error = profiles.write("b.json", b"text").unwrap_err();
        assert!(matches!(error, ProfilesError::File { .. }), "{error}");
        let left = names(folder.path());
        assert!(!left.iter().any(|name| name.starts_with(UNFINISHED)));
        nix::unistd::mkfifo(&folder.path().join("c.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(profiles.read("c.json").unwrap(), Entry::Other);
    }

    #[test]
    fn what_is_ours_is_known_after_a_restart() {
        let (folder, profiles) = folder();
        profiles.write("a.json", b"a").unwrap();
        profiles.write("b.json", b"b").unwrap();
        profiles.remove("a.json").unwrap();
        fs::write(folder.path().join("strange.json"), "mine").unwrap();
        fs::write(folder.path().join(".spo-new-1-1"), "half").unwrap();
        let again = Profiles::at(folder.path().to_owned());
        assert_eq!(again.ours().unwrap(), ["b.json"]);
        assert_eq!(again.remove_unfinished().unwrap(), 1);
        again.adopt("c.json").unwrap();
        let third = Profiles::at(folder.path().to_owned());
        assert_eq!(third.ours().unwrap(), ["b.json", "c.json"]);
        let left = [".spo-written", "b.json", "strange.json"];
        assert_eq!(names(folder.path()), left);
    }

    #[test]
    fn a_folder_that_is_gone_says_so_and_comes_back_empty() {
        let (folder, profiles) = folder();
        let path = folder.path().join("inner");
        let profiles_in = Profiles::at(path.clone());
        let is_folder =
            |result: Result<(), ProfilesError>| matches!(result, Err(ProfilesError::Folder { .. }));
        assert!(is_folder(profiles_in.write("a.json", b"a")));
        fs::create_dir(&path).unwrap();
        profiles_in.write("a.json", b"a").unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert!(is_folder(profiles_in.write("a.json", b"a")));
        fs::create_dir(&path).unwrap();
        assert!(profiles_in.ours().unwrap().is_empty());
        profiles_in.write("a.json", b"a").unwrap();
        assert_eq!(Profiles::at(path).ours().unwrap(), ["a.json"]);
        drop(profiles);
    }
}
