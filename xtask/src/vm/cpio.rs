//! The archive format of an initramfs: cpio, "newc".

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// An archive in the making; everything in it belongs to root. Paths are absolute.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    // Sorted, so that a directory comes before what is in it.
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug)]
struct Entry {
    mode: u32,
    device: (u32, u32),
    content: Content,
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Archive {
    /// A directory, with those above it.
    pub(crate) fn directory(&mut self, path: &Path) {
        for path in path.ancestors().filter(|path| path.parent().is_some()) {
            let entry = || Entry {
                mode: DIRECTORY | 0o755,
                device: (0, 0),
                content: Content::Bytes(Vec::new()),
            };
            self.entries.entry(path.to_path_buf()).or_insert_with(entry);
        }
    }

    /// A file with this text.
    pub(crate) fn text(&mut self, path: &Path, mode: u32, text: &str) {
        self.insert(
            path,
            REGULAR | mode,
            (0, 0),
            Content::Bytes(text.as_bytes().to_vec()),
        );
    }

    /// A file of this machine, followed if it is a link, with its mode.
    pub(crate) fn file(&mut self, path: &Path, from: &Path) -> Result<()> {
        let mode = fs::metadata(from)
            .with_context(|| format!("failed to look at {}", from.display()))?
            .permissions()
            .mode();
        self.insert(
            path,
            REGULAR | mode & 0o7777,
            (0, 0),
            Content::File(from.to_path_buf()),
        );
        Ok(())
    }

    pub(crate) fn link(&mut self, path: &Path, to: &Path) {
        self.insert(
            path,
            LINK | 0o777,
            (0, 0),
            Content::Bytes(to.as_os_str().as_bytes().to_vec()),
        );
    }

    pub(crate) fn character_device(&mut self, path: &Path, mode: u32, major: u32, minor: u32) {
        self.insert(
            path,
            CHARACTER | mode,
            (major, minor),
            Content::Bytes(Vec::new()),
        );
    }

    pub(crate) fn contains(&self, path: &Path) -> bool {
        self.entries.contains_key(path)
    }

    fn insert(&mut self, path: &Path, mode: u32, device: (u32, u32), content: Content) {
        if let Some(above) = path.parent() {
            self.directory(above);
        }
        self.entries.insert(
            path.to_path_buf(),
            Entry {
                mode,
                device,
                content,
            },
        );
    }

    /// Writes the archive.
    pub(crate) fn write(&self, out: &mut impl Write) -> Result<()> {
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            let Entry {
                mode,
                device,
                content,
            } = entry;
            let read;
            let bytes = match content {
                Content::Bytes(bytes) => bytes,
                Content::File(from) => {
                    read = fs::read(from)
                        .with_context(|| format!("failed to read {}", from.display()))?;
                    &read
                }
            };
            let name = path
                .strip_prefix("/")
                .unwrap_or(path)
                .as_os_str()
                .as_bytes();
            member(out, number, *mode, *device, name, bytes)
                .with_context(|| format!("failed to write {}", path.display()))?;
        }
        member(out, 0, 0, (0, 0), b"TRAILER!!!", &[])
            .context("failed to write the end of the archive")
    }
}

/// One member: a header of hexadecimal numbers, the name, and the data, each filled up to four bytes.
fn member(
    out: &mut impl Write,
    number: u32,
    mode: u32,
    device: (u32, u32),
    name: &[u8],
    bytes: &[u8],
) -> io::Result<()> {
    let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
    // Number, mode, user, group, links, time, size, device, special device, name's size, checksum.
    let fields = [
        number, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0,
    ];
    out.write_all(b"070701")?;
    for field in fields {
        write!(out, "{field:08X}")?;
    }
    out.write_all(name)?;
    let header = 6 + 8 * fields.len();
    out.write_all(&[0; 4][..=padding(header + name.len() + 1)])?;
    out.write_all(bytes)?;
    out.write_all(&[0; 4][..padding(bytes.len())])
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Archive, padding};

    #[test]
    fn members_are_in_order_and_aligned() {
        let mut archive = Archive::default();
        archive.text(Path::new("/a/b/c"), 0o644, "hello");
        archive.link(Path::new("/a/link"), Path::new("b/c"));
        archive.character_device(Path::new("/dev/console"), 0o600, 5, 1);
        let mut bytes = Vec::new();
        archive.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let at = |what: &str| {
            text.find(what)
                .unwrap_or_else(|| panic!("{what:?} is not there"))
        };
        assert!(
            at("a/b\0") < at("a/b/c\0")
                && at("a/b/c\0") < at("hello")
                && at("hello") < at("a/link\0")
        );
        assert!(at("00002180") < at("dev/console\0"), "the device's mode");
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
        assert!(archive.contains(Path::new("/a")) && !archive.contains(Path::new("/")));
    }

    #[test]
    fn fills_up_to_four() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(padding), [0, 3, 2, 1, 0, 3]);
    }
}
