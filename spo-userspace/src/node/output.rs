//! Writing a result so that it is there whole or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, chown};
use tempfile::NamedTempFile;

/// Where a result goes. Whether that works is known when this exists.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Standard,
    /// A file that exists and is no regular one, such as a pipe or `/dev/null`.
    Special(PathBuf),
    /// A file, which appears or is replaced when the result is complete.
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
            Ok(data) if data.is_dir() => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Ok(data) if !data.is_file() => {
                fs::OpenOptions::new().write(true).open(path)?;
                return Ok(Self::Special(path.to_owned()));
            }
            Ok(data) if data.permissions().readonly() => {
                return Err(io::Error::from(io::ErrorKind::PermissionDenied));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // A link is followed: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            .prefix(".spo-")
            .tempfile_in(folder)?;
        Ok(Self::File { temporary, path })
    }

    /// Writes the result.
    pub fn write(self, text: &str) -> io::Result<()> {
        match self {
            Self::Standard => {
                let mut output = io::stdout().lock();
                output.write_all(text.as_bytes())?;
                output.flush()
            }
            Self::Special(path) => fs::OpenOptions::new()
                .write(true)
                .open(path)?
                .write_all(text.as_bytes()),
            Self::File {
                mut temporary,
                path,
            } => {
                use std::os::unix::fs::PermissionsExt as _;
                temporary.write_all(text.as_bytes())?;
                temporary
                    .as_file()
                    .set_permissions(fs::Permissions::from_mode(0o644))?;
                temporary.as_file().sync_all()?;
                give_to_sudo_user(temporary.path())?;
                temporary.persist(&path).map_err(|error| error.error)?;
                Ok(())
            }
        }
    }
}

/// A file that `sudo spo ...` wrote belongs to the person, not to root.
fn give_to_sudo_user(path: &Path) -> io::Result<()> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if let (true, Some(user), Some(group)) = (
        Uid::effective().is_root(),
        number("SUDO_UID"),
        number("SUDO_GID"),
    ) {
        chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
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
