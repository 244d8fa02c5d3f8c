//! The names that we wrote, on disk: a line for each change. It is written anew when it is read,
//! so that it stays short.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::check_name;

/// The file.
pub(super) const NAME: &str = ".spo-written";
/// What comes in its place.
const NEW: &str = ".spo-new-journal";
/// A journal of all the names that a folder can sensibly have is shorter.
const LARGEST: u64 = 64 << 20;

/// The journal of one folder.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Device and number of the folder that it was read from.
    folder: Option<(u64, u64)>,
    file: Option<File>,
    /// How long the file is, as far as it is whole.
    length: u64,
    names: BTreeSet<String>,
}

impl Journal {
    /// Reads the journal of a folder, unless it is the one that was read before.
    pub(super) fn belong_to(&mut self, folder: &OwnedFd) -> io::Result<()> {
        let data = rustix::fs::fstat(folder)?;
        let identity = (data.st_dev, data.st_ino);
        if self.folder == Some(identity) {
            return Ok(());
        }
        *self = Self::default();
        let names = read(folder)?;
        let mut text = String::new();
        for name in &names {
            text.push_str(&line('+', name));
        }
        match rustix::fs::unlinkat(folder, NEW, AtFlags::empty()) {
            Err(error) if error != rustix::io::Errno::NOENT => return Err(error.into()),
            _ => {}
        }
        let mut file = open(folder, NEW, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        rustix::fs::renameat(folder, NEW, folder, NAME)?;
        *self = Self {
            folder: Some(identity),
            file: Some(file),
            length: text.len() as u64,
            names,
        };
        Ok(())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.iter().cloned().collect()
    }

    /// Notes a name before its file is written.
    pub(super) fn add(&mut self, folder: &OwnedFd, name: &str) -> io::Result<()> {
        if !self.has(name) {
            self.append(folder, &line('+', name))?;
            self.names.insert(name.to_owned());
        }
        Ok(())
    }

    /// Notes that a file is gone.
    pub(super) fn remove(&mut self, folder: &OwnedFd, name: &str) -> io::Result<()> {
        if self.has(name) {
            self.append(folder, &line('-', name))?;
            self.names.remove(name);
        }
        Ok(())
    }

    fn append(&mut self, folder: &OwnedFd, line: &str) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            self.folder = None;
            return self.belong_to(folder);
        };
        // Not flushed: what a loss of power takes is noted again, because each start compares all
        // profiles with their files.
        match file.write_all(line.as_bytes()) {
            Ok(()) => self.length += line.len() as u64,
            // Half a line must not become the begin of the next; if that fails as well, the file
            // is read and written anew.
            Err(error) => {
                use std::io::Seek as _;
                let length = self.length;
                let mended = file
                    .set_len(length)
                    .and_then(|()| file.seek(io::SeekFrom::Start(length)));
                if mended.is_err() {
                    self.folder = None;
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Notes that files are gone, in the journal that is there, which stays whose it was.
pub(super) fn forget<'n>(
    folder: &OwnedFd,
    names: impl Iterator<Item = &'n String>,
) -> io::Result<()> {
    let mut file = open(folder, NAME, OFlags::WRONLY | OFlags::APPEND)?;
    let text: String = names.map(|name| line('-', name)).collect();
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn line(sign: char, name: &str) -> String {
    format!("{sign}{name}\n")
}

fn open(folder: &OwnedFd, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o600))?;
    Ok(File::from(file))
}

/// What is not whole, or is no name, does not count.
pub(super) fn read(folder: &OwnedFd) -> io::Result<BTreeSet<String>> {
    let mut text = Vec::new();
    match open(folder, NAME, OFlags::RDONLY) {
        Ok(file) => file.take(LARGEST).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        // A link in its place is replaced, not followed.
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => 0,
        Err(error) => return Err(error),
    };
    let mut names = BTreeSet::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let Some(line) = line.strip_suffix('\n') else {
            continue;
        };
        match line.split_at_checked(1) {
            Some(("+", name)) if check_name(name).is_ok() => {
                names.insert(name.to_owned());
            }
            Some(("-", name)) => {
                names.remove(name);
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_broken_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"+a.json\n+b.json\n-a.json\n+../../etc/passwd\n+\xff.json\nrubbish\n\n+half";
        fs::write(folder.path().join(NAME), text).unwrap();
        let open = OwnedFd::from(File::open(folder.path()).unwrap());
        let mut journal = Journal::default();
        journal.belong_to(&open).unwrap();
        assert_eq!(journal.names(), ["b.json"]);
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!(text, "+b.json\n");
        journal.add(&open, "c.json").unwrap();
        journal.add(&open, "c.json").unwrap();
        journal.remove(&open, "b.json").unwrap();
        journal.remove(&open, "b.json").unwrap();
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!(text, "+b.json\n+c.json\n-b.json\n");
    }
}
