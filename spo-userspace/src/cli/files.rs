//! Finding and reading the files that hold profiles.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::held::shown;
use crate::profile::LARGEST_FILE;

/// How deep folders may lie in each other.
const DEEPEST: usize = 64;
/// What names of profiles in folders end with.
const ENDINGS: [&str; 5] = ["yaml", "yml", "json", "cil", "apparmor"];

/// A file to look at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    /// It was named, and not only found in a folder, so it has to be a profile.
    pub(super) named: bool,
}

/// The files that were named, and those below the folders that were, in the order of their names.
/// Symbolic links in folders are not followed, hidden files left out.
pub(super) fn list(paths: &[PathBuf]) -> Result<Vec<Listed>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut found = Vec::new();
            walk(path, DEEPEST, &mut found)?;
            found.sort_unstable();
            files.extend(found.into_iter().map(|path| Listed { path, named: false }));
        } else {
            files.push(Listed {
                path: path.clone(),
                named: true,
            });
        }
    }
    Ok(files)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let failed = || format!("failed to list {}", shown(folder.as_os_str()));
    if depth == 0 {
        bail!(
            "{}: folders nest deeper than {DEEPEST}",
            shown(folder.as_os_str())
        );
    }
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let kind = entry.file_type().with_context(failed)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            walk(&path, depth - 1, found)?;
        } else if kind.is_file()
            && let Some(ending) = path.extension().and_then(OsStr::to_str)
            && ENDINGS.contains(&ending)
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Reads a file, `-` from standard input. Of one that is too large to be a profile, so much that
/// its reader refuses it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let limit = LARGEST_FILE as u64 + 1;
    let mut text = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text))
    }
    .with_context(|| format!("failed to read {}", shown(path.as_os_str())))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("b/.git")).unwrap();
        for name in [
            "a.yaml",
            "b/c.cil",
            "b/.git/d.yaml",
            "e.txt",
            "f",
            ".g.yaml",
        ] {
            std::fs::write(at(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("a.yaml"), at("link.yaml")).unwrap();
        std::os::unix::fs::symlink(folder.path(), at("b/loop")).unwrap();
        let found = list(&[at("f"), folder.path().to_owned()]).unwrap();
        let expected = [("f", true), ("a.yaml", false), ("b/c.cil", false)];
        assert_eq!(
            found,
            expected.map(|(name, named)| Listed {
                path: at(name),
                named
            })
        );
    }

    #[test]
    fn large_files_are_not_read_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.as_file_mut().set_len(LARGEST_FILE as u64 * 3).unwrap();
        assert_eq!(read(file.path()).unwrap().len(), LARGEST_FILE + 1);
    }
}
