//! A log file as others write it: lines that come, while the file is rotated, cut to nothing, or not
//! there yet.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use inotify::{EventStream, Inotify, WatchMask};

/// Room for many events at once.
const EVENTS: usize = 16 << 10;
/// How much is read at once.
const PIECE: usize = 64 << 10;
/// auditd's lines are not longer than about 9 KiB.
const LONGEST: usize = 32 << 10;

#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    events: EventStream<Vec<u8>>,
    /// The file of the name, and the one that had it before: its writer may not know yet.
    files: Vec<Open>,
    piece: Vec<u8>,
    /// Lines that were too long to be kept.
    pub(super) too_long: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    offset: u64,
    /// What came of a line without its end.
    line: Vec<u8>,
    /// The line is longer than any of auditd's: it is left out up to its end.
    skipping: bool,
}

impl Tail {
    /// Reads what comes from now on. The folder must be there, the file need not.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let events = Inotify::init()?.into_event_stream(vec![0; EVENTS])?;
        let mask = WatchMask::CREATE
            | WatchMask::MODIFY
            | WatchMask::MOVE
            | WatchMask::CLOSE_WRITE
            | WatchMask::ONLYDIR;
        events.watches().add(folder, mask)?;
        let mut tail = Self {
            path: path.to_owned(),
            events,
            files: Vec::new(),
            piece: vec![0; PIECE],
            too_long: 0,
        };
        if let Some((file, about)) = tail.there()? {
            tail.files.push(Open::at(file, about.len()));
        }
        Ok(tail)
    }

    /// Waits until something happens in the folder.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        match self.events.next().await {
            Some(event) => event.map(drop),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Tells the lines that are there, without their ends. What is written into the file before it
    /// is seen under its name is told as well.
    pub(super) fn lines(&mut self, mut told: impl FnMut(&[u8])) -> io::Result<()> {
        self.follow()?;
        let Self {
            files,
            piece,
            too_long,
            ..
        } = self;
        for open in files {
            open.read(piece, too_long, &mut told)?;
        }
        Ok(())
    }

    /// Opens the file that has the name now, if it is another one.
    fn follow(&mut self) -> io::Result<()> {
        let Some((file, about)) = self.there()? else {
            return Ok(());
        };
        let same = |open: &Open| -> io::Result<bool> {
            let known = open.file.metadata()?;
            Ok((known.dev(), known.ino()) == (about.dev(), about.ino()))
        };
        if let Some(last) = self.files.last()
            && same(last)?
        {
            return Ok(());
        }
        self.files.push(Open::at(file, 0));
        if self.files.len() > 2 {
            self.files.remove(0);
        }
        Ok(())
    }

    fn there(&self) -> io::Result<Option<(File, Metadata)>> {
        match File::open(&self.path) {
            Ok(file) => {
                let about = file.metadata()?;
                Ok(about.is_file().then_some((file, about)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Open {
    fn at(file: File, offset: u64) -> Self {
        Self {
            file,
            offset,
            line: Vec::new(),
            skipping: false,
        }
    }

    fn read(
        &mut self,
        piece: &mut [u8],
        too_long: &mut u64,
        told: &mut impl FnMut(&[u8]),
    ) -> io::Result<()> {
        if self.file.metadata()?.len() < self.offset {
            // It was cut to nothing, and what stands in it now is new.
            self.offset = 0;
            self.line.clear();
            self.skipping = false;
        }
        self.file.seek(SeekFrom::Start(self.offset))?;
        loop {
            let length = match self.file.read(piece) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.offset += u64::try_from(length).unwrap_or(u64::MAX);
            for part in piece[..length].split_inclusive(|byte| *byte == b'\n') {
                self.take(part, too_long, told);
            }
        }
    }

    /// A line, or what is there of it.
    fn take(&mut self, part: &[u8], too_long: &mut u64, told: &mut impl FnMut(&[u8])) {
        let (text, ends) = match part.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (part, false),
        };
        if !self.skipping && self.line.len() + text.len() > LONGEST {
            self.skipping = true;
            self.line.clear();
            *too_long += 1;
        }
        if !self.skipping {
            self.line.extend_from_slice(text);
        }
        if ends {
            if !self.skipping {
                told(&self.line);
            }
            self.line.clear();
            self.skipping = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn lines(tail: &mut Tail) -> Vec<String> {
        let mut lines = Vec::new();
        tail.lines(|line| lines.push(String::from_utf8_lossy(line).into_owned()))
            .unwrap();
        lines
    }

    async fn after_a_change(tail: &mut Tail) -> Vec<String> {
        tokio::time::timeout(Duration::from_secs(10), tail.changed())
            .await
            .unwrap()
            .unwrap();
        lines(tail)
    }

    #[tokio::test]
    async fn what_comes_is_told_once_and_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(&path, "before\nhal");
        let mut tail = Tail::open(&path).unwrap();
        assert!(lines(&mut tail).is_empty());
        append(&path, "f\none\ntw");
        assert_eq!(after_a_change(&mut tail).await, ["f", "one"]);
        append(&path, "o\n\n");
        assert_eq!(after_a_change(&mut tail).await, ["two", ""]);
        assert!(lines(&mut tail).is_empty());
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut tail = Tail::open(&path).unwrap();
        assert!(lines(&mut tail).is_empty());
        append(&path, "one\n");
        assert_eq!(after_a_change(&mut tail).await, ["one"]);
        let missing = folder.path().join("missing/audit.log");
        assert_eq!(
            Tail::open(&missing).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[tokio::test]
    async fn rotation_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(&path, "");
        let mut tail = Tail::open(&path).unwrap();
        append(&path, "one\n");
        let old = folder.path().join("audit.log.1");
        fs::rename(&path, &old).unwrap();
        append(&old, "two\n");
        assert_eq!(after_a_change(&mut tail).await, ["one", "two"]);
        append(&path, "four\n");
        // Its writer has not seen yet that it has another name.
        append(&old, "three\n");
        assert_eq!(lines(&mut tail), ["three", "four"]);
        append(&old, "five\n");
        assert_eq!(lines(&mut tail), ["five"]);
        fs::rename(&path, folder.path().join("audit.log.2")).unwrap();
        append(&path, "six\n");
        append(&old, "too late\n");
        assert_eq!(lines(&mut tail), ["six"]);
    }

    #[tokio::test]
    async fn a_file_that_is_cut_to_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(&path, "before\n");
        let mut tail = Tail::open(&path).unwrap();
        append(&path, "one\nrest");
        assert_eq!(lines(&mut tail), ["one"]);
        fs::write(&path, "two\n").unwrap();
        assert_eq!(after_a_change(&mut tail).await, ["two"]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(&path, "");
        let mut tail = Tail::open(&path).unwrap();
        append(&path, &"x".repeat(LONGEST));
        assert!(lines(&mut tail).is_empty());
        append(&path, "x");
        assert!(lines(&mut tail).is_empty());
        append(&path, &format!("{}\nnext\n", "x".repeat(3 * LONGEST)));
        assert_eq!(lines(&mut tail), ["next"]);
        assert_eq!(tail.too_long, 1);
        append(&path, &format!("{}\n", "y".repeat(LONGEST)));
        assert_eq!(lines(&mut tail), ["y".repeat(LONGEST)]);
        assert_eq!(tail.too_long, 1);
    }
}
