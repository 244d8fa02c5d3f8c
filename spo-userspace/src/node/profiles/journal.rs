//! The names that we wrote, on disk: a line for each change. It is written anew when it is read and
//! has more lines than names, so that it stays short.

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
        let Found { names, text, whole } = read(folder)?;
        let mut short = String::new();
        for name in &names {
            short.push_str(&line('+', name));
        }
        let is_short = text == short.as_bytes();
        let anew = if is_short {
            Ok(None)
        } else {
            replace(folder, &short).map(Some)
        };
        // A disk that is full, or fails, keeps nobody from reading, nor from adding to what is there.
        let (file, length) = match anew {
            Ok(Some(file)) => (Some(file), short.len() as u64),
            Ok(None) | Err(_) => (resume(folder, whole).ok(), whole),
        };
        *self = Self {
            folder: Some(identity),
            file,
            length,
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
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let names = self.names.iter();
                let text: String = names.map(|name| self::line('+', name)).collect();
                self.length = text.len() as u64;
                none.insert(replace(folder, &text)?)
            }
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

/// Writes the journal anew.
fn replace(folder: &OwnedFd, text: &str) -> io::Result<File> {
    match rustix::fs::unlinkat(folder, NEW, AtFlags::empty()) {
        Err(error) if error != rustix::io::Errno::NOENT => return Err(error.into()),
        _ => {}
    }
    let mut file = open(folder, NEW, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    let placed = written.and_then(|()| Ok(rustix::fs::renameat(folder, NEW, folder, NAME)?));
    if placed.is_err() {
        // The disk may be full; it is removed before the next attempt, too.
        rustix::fs::unlinkat(folder, NEW, AtFlags::empty()).ok();
    }
    placed.map(|()| file)
}

/// Goes on with the journal that is there, after its last whole line.
fn resume(folder: &OwnedFd, whole: u64) -> io::Result<File> {
    use std::io::Seek as _;
    let mut file = open(folder, NAME, OFlags::WRONLY)?;
    if file.metadata()?.len() != whole {
        file.set_len(whole)?;
    }
    file.seek(io::SeekFrom::Start(whole))?;
    Ok(file)
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

/// What a journal says.
pub(super) struct Found {
    pub(super) names: BTreeSet<String>,
    text: Vec<u8>,
    /// How much of the text is whole lines.
    whole: u64,
}

/// What is not whole, or is no name, does not count.
pub(super) fn read(folder: &OwnedFd) -> io::Result<Found> {
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
    let whole = text.iter().rposition(|byte| *byte == b'\n');
    let whole = whole.map_or(0, |last| last as u64 + 1);
    Ok(Found { names, text, whole })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_is_broken_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"+a.json\n-a.json\n+../../etc/passwd\n+\xff.json\nrubbish\n\n+b.json\n+half";
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

    #[test]
    fn what_is_right_is_not_written_again_and_a_line_goes_after_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, "+a.json\n").unwrap();
        let number = || fs::metadata(&path).unwrap().ino();
        let before = number();
        let open = OwnedFd::from(File::open(folder.path()).unwrap());
        let mut journal = Journal::default();
        journal.belong_to(&open).unwrap();
        journal.add(&open, "b.json").unwrap();
        assert_eq!(number(), before);
        assert_eq!(fs::read_to_string(&path).unwrap(), "+a.json\n+b.json\n");
        // What is in the way of a new one keeps nobody from going on with the old one.
        fs::write(&path, "+a.json\n-a.json\n+b.json\n+half of a longer name").unwrap();
        fs::create_dir(folder.path().join(NEW)).unwrap();
        let mut journal = Journal::default();
        journal.belong_to(&open).unwrap();
        assert_eq!(journal.names(), ["b.json"]);
        journal.add(&open, "c.json").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "+a.json\n-a.json\n+b.json\n+c.json\n");
        // Where there is none, and none can be, it can be read, and says so when it is written.
        fs::remove_file(&path).unwrap();
        let mut journal = Journal::default();
        journal.belong_to(&open).unwrap();
        assert!(journal.names().is_empty() && journal.add(&open, "d.json").is_err());
        fs::remove_dir(folder.path().join(NEW)).unwrap();
        journal.add(&open, "d.json").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "+d.json\n");
    }
}
