//! Writing a result so that it is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::unistd::{Gid, Uid, fchown};
use procfs::process::Process;

/// Where a result goes. Whether that works is known when this exists, as far as it can be.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Standard,
    /// What exists and is no regular file, such as a pipe or `/dev/null`; open from the begin.
    Special(File),
    /// A file, which appears or is replaced when the result is complete. A link is replaced, not followed: while a command
    /// runs as its user, that user may put links where root will write.
    File {
        /// The file.
        path: PathBuf,
        /// The file as it is, for when it cannot be replaced: it may be a mount point, or another's in a folder
        /// like `/tmp`.
        existing: Option<File>,
    },
}

impl Output {
    /// Checks that a file can be written (`-` stands for standard output), without touching it. Of a pipe without a
    /// reader, it waits for one, after `waiting` was called.
    pub fn prepare(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard);
        }
        // Names there are the kernel's: they stand for what is open, and are never replaced.
        if let Ok(real) = folder(path).canonicalize() {
            if real.starts_with("/dev") || (real.starts_with("/proc") && real.ends_with("fd")) {
                return Self::prepare_stream(path, waiting);
            }
            if real.starts_with("/proc") || real.starts_with("/sys") {
                return Err(io::Error::other("files there belong to the kernel"));
            }
        }
        match fs::metadata(path) {
            Ok(data) if !data.is_file() && !data.is_dir() => Self::prepare_stream(path, waiting),
            _ => Self::prepare_file(path),
        }
    }

    fn prepare_stream(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let standard = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
        if standard.iter().any(|name| path == Path::new(name)) {
            return Ok(Self::Standard);
        }
        let mut options = File::options();
        options.append(true);
        // Opened only once: a reader takes the first end for the last.
        match options.clone().custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(file) => {
                let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
                fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
                Ok(Self::Special(file))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                waiting();
                Ok(Self::Special(options.open(path)?))
            }
            Err(error) => Err(error),
        }
    }

    /// The same of a regular file only.
    pub fn prepare_file(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().ends_with(b"/") {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let existing = match fs::symlink_metadata(path) {
            Ok(data) if data.is_dir() => {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            // A file that may not be written is not replaced either.
            Ok(data) if data.is_file() => {
                let mut options = File::options();
                options.write(true).custom_flags(libc::O_NOFOLLOW);
                Some(options.open(path)?)
            }
            Ok(data) if data.is_symlink() => None,
            Ok(_) => return Err(io::Error::other("it is no regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let folder_takes_files = tempfile::tempfile_in(folder(path));
        if existing.is_none() {
            folder_takes_files?;
        }
        Ok(Self::File {
            path: path.to_owned(),
            existing,
        })
    }

    /// Writes the result.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        match self {
            Self::Standard => {
                let mut output = io::stdout().lock();
                output.write_all(text.as_bytes())?;
                output.flush()
            }
            Self::Special(file) => file.write_all(text.as_bytes()),
            Self::File { path, existing } => match (replace(path, text), existing) {
                (Err(error), Some(existing)) if error.kind() != io::ErrorKind::StorageFull => {
                    existing.set_len(0)?;
                    existing.write_all(text.as_bytes())?;
                    existing.sync_all()
                }
                (written, _) => written,
            },
        }
    }
}

/// Writes a result where something always can be written, when its place turned out to be none.
/// Returns the file.
pub fn rescue(text: &str) -> io::Result<PathBuf> {
    let mut file = tempfile::Builder::new()
        .prefix("spo-profile-")
        .tempfile_in(std::env::temp_dir())?;
    file.write_all(text.as_bytes())?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}

/// Puts a file in the place of another, or where none was.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = folder(path);
    let mut temporary = tempfile::Builder::new()
        .prefix(".spo-")
        .tempfile_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    let file = temporary.as_file();
    match fs::symlink_metadata(path) {
        Ok(before) if before.is_file() => {
            file.set_permissions(before.permissions())?;
            if Uid::effective().is_root() {
                let (user, group) = (before.uid(), before.gid());
                fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
            }
        }
        _ => {
            let mask = Process::myself()
                .and_then(|process| process.status())
                .map_or(None, |status| status.umask);
            let mode = 0o666 & !mask.unwrap_or(0o022);
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            give_to_sudo_user(file, folder)?;
        }
    }
    file.sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file that `sudo spo ...` wrote into a person's own folder belongs to the person, not to root.
fn give_to_sudo_user(file: &File, folder: &Path) -> io::Result<()> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if let (true, Some(user), Some(group)) = (
        Uid::effective().is_root(),
        number("SUDO_UID"),
        number("SUDO_GID"),
    ) && fs::metadata(folder)?.uid() == user
    {
        fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(path: &Path) -> io::Result<Output> {
        Output::prepare(path, || ())
    }

    #[test]
    fn a_file_appears_only_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.yaml");
        let mut output = prepare(&path).unwrap();
        assert!(!path.exists());
        output.write("one").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        drop(prepare(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        prepare(&path).unwrap().write("two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_replaced_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let link = folder.path().join("profile.yaml");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        prepare(&link).unwrap().write("text").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(fs::read_to_string(&link).unwrap(), "text");
    }

    #[test]
    fn a_pipe_stays_open_until_the_result_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        let mut output = prepare(&pipe).unwrap();
        assert!(!reader.is_finished());
        output.write("text").unwrap();
        drop(output);
        assert_eq!(reader.join().unwrap(), "text");
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        assert!(prepare(folder.path()).is_err());
        assert!(prepare(&folder.path().join("missing/profile.yaml")).is_err());
        assert!(prepare(&folder.path().join("missing/")).is_err());
        prepare(Path::new("/dev/null"))
            .unwrap()
            .write("gone")
            .unwrap();
    }

    #[test]
    fn names_of_what_is_open_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("out")).unwrap();
        let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        fs::write(folder.path().join("out"), "before ").unwrap();
        prepare(Path::new(&name)).unwrap().write("after").unwrap();
        let text = fs::read_to_string(folder.path().join("out")).unwrap();
        assert_eq!(text, "before after");
        assert!(matches!(
            prepare(Path::new("/dev/stdout")).unwrap(),
            Output::Standard
        ));
    }

    #[test]
    fn a_file_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.yaml");
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        prepare(&path).unwrap().write("after").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_cannot_be_replaced_is_written_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.yaml");
        fs::write(&path, "before, and longer").unwrap();
        let mut output = prepare(&path).unwrap();
        // The folder is gone, and the file lives on by another name.
        let elsewhere = tempfile::tempdir().unwrap();
        let kept = elsewhere.path().join("kept");
        fs::hard_link(&path, &kept).unwrap();
        fs::remove_dir_all(folder.path()).unwrap();
        output.write("after").unwrap();
        assert_eq!(fs::read_to_string(kept).unwrap(), "after");
    }

    #[test]
    fn a_rescued_result_is_there() {
        let path = rescue("text").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
        fs::remove_file(path).unwrap();
    }
}
