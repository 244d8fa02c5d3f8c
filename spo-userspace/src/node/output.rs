//! Writing a result so that it is there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, fchown};
use tempfile::NamedTempFile;

/// Where a result goes. Whether that works is known when this exists.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Standard,
    /// What exists and is no regular file, such as a pipe or `/dev/null`; open from the begin.
    Special(File),
    /// A file, which appears or is replaced when the result is complete. A link is replaced, not followed: while a command
    /// runs as its user, that user may put links where root will write.
    File {
        /// In the folder of the file; gone if nothing is written.
        temporary: NamedTempFile,
        /// The file.
        path: PathBuf,
    },
}

impl Output {
    /// Checks that a file can be written (`-` stands for standard output), without touching it.
    pub fn prepare(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Standard);
        }
        match fs::metadata(path) {
            Ok(data) if !data.is_file() && !data.is_dir() => {
                Ok(Self::Special(File::options().write(true).open(path)?))
            }
            _ => Self::prepare_file(path),
        }
    }

    /// The same of a regular file only.
    pub fn prepare_file(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(data) if data.is_dir() => {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            Ok(data) if data.permissions().readonly() => {
                return Err(io::Error::from(io::ErrorKind::PermissionDenied));
            }
            Ok(data) if !data.is_file() && !data.is_symlink() => {
                return Err(io::Error::other("it is no regular file"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let temporary = tempfile::Builder::new()
            .prefix(".spo-")
            .tempfile_in(folder(path))?;
        Ok(Self::File {
            temporary,
            path: path.to_owned(),
        })
    }

    /// Writes the result.
    pub fn write(self, text: &str) -> io::Result<()> {
        match self {
            Self::Standard => {
                let mut output = io::stdout().lock();
                output.write_all(text.as_bytes())?;
                output.flush()
            }
            Self::Special(mut file) => file.write_all(text.as_bytes()),
            Self::File {
                mut temporary,
                path,
            } => {
                temporary.write_all(text.as_bytes())?;
                temporary
                    .as_file()
                    .set_permissions(fs::Permissions::from_mode(0o644))?;
                temporary.as_file().sync_all()?;
                give_to_sudo_user(temporary.as_file(), folder(&path))?;
                temporary.persist(&path).map_err(|error| error.error)?;
                Ok(())
            }
        }
    }
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

    #[test]
    fn a_file_appears_only_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.yaml");
        let output = Output::prepare(&path).unwrap();
        assert!(!path.exists());
        output.write("one").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        drop(Output::prepare(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        Output::prepare(&path).unwrap().write("two").unwrap();
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
        Output::prepare(&link).unwrap().write("text").unwrap();
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
        let output = Output::prepare(&pipe).unwrap();
        assert!(!reader.is_finished());
        output.write("text").unwrap();
        assert_eq!(reader.join().unwrap(), "text");
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Output::prepare(folder.path()).is_err());
        assert!(Output::prepare(&folder.path().join("missing/profile.yaml")).is_err());
        Output::prepare(Path::new("/dev/null"))
            .unwrap()
            .write("gone")
            .unwrap();
    }
}
