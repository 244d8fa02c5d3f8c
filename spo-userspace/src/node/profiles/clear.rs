//! Takes everything of ours out of the folder, for when nobody is to install profiles any more.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir};

use super::{UNFINISHED, journal};

/// What became of the folder's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// How many of ours are gone.
    pub removed: usize,
    /// Those of ours that were to stay, and are there.
    pub kept: Vec<String>,
}

/// Removes the files that the journal names, but for those in `keep`; then the journal, unless
/// something of ours is left, for which it is needed. Whoever ends in the midst of it can begin
/// anew: a name leaves the journal after its file is gone.
pub fn clear(folder: &OwnedFd, keep: &BTreeSet<String>) -> io::Result<Cleared> {
    let mut cleared = Cleared::default();
    let ours = journal::read(folder)?.names;
    for name in &ours {
        if !keep.contains(name) {
            cleared.removed += usize::from(remove(folder, name)?);
        } else if rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            cleared.kept.push(name.clone());
        }
    }
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if name.starts_with(UNFINISHED) {
            cleared.removed += usize::from(remove(folder, &name)?);
        }
    }
    rustix::fs::fsync(folder)?;
    if cleared.kept.is_empty() {
        cleared.removed += usize::from(remove(folder, journal::NAME)?);
    } else {
        journal::forget(folder, ours.iter().filter(|name| !keep.contains(*name)))?;
    }
    Ok(cleared)
}

/// Whether it was there.
fn remove(folder: &OwnedFd, name: &str) -> io::Result<bool> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
