//! Finding and reading the files that hold profiles.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::exit::{Failure, USAGE};
use super::held::shown;
use crate::profile::LARGEST_FILE;
use crate::profile::diagnostic::Diagnostic;

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

/// The files to look at, and the places where none could be looked for.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: Vec<Listed>,
    pub(super) problems: Vec<Diagnostic>,
}

/// The files that were named, and those below the folders that were, in the order of their names,
/// each of them once. Symbolic links in folders are not followed, hidden files left out.
pub(super) fn list(paths: &[PathBuf]) -> Listing {
    let mut listing = Listing::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        let named = !path.is_dir();
        let mut found = Vec::new();
        if named {
            found.push(path.clone());
        } else {
            walk(path, DEEPEST, &mut found, &mut listing.problems);
            found.sort_unstable();
        }
        for path in found {
            let same = path.canonicalize().unwrap_or_else(|_| path.clone());
            if seen.insert(same) {
                listing.files.push(Listed { path, named });
            }
        }
    }
    listing
}

/// Standard input can be read once.
pub(super) fn refuse_twice_standard(paths: &[&Path]) -> Result<(), Failure> {
    let standard = paths.iter().filter(|path| **path == Path::new("-"));
    if standard.count() > 1 {
        let error = anyhow!("standard input (-) is named twice, and can be read only once");
        return Err(Failure::new(USAGE, error));
    }
    Ok(())
}

/// A folder that cannot be looked at is a problem, and no end.
fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>, problems: &mut Vec<Diagnostic>) {
    let mut problem = |message: String, help| {
        let name = shown(folder.as_os_str());
        problems.push(Diagnostic::of_file(&name, message, help));
    };
    if depth == 0 {
        let message = format!("folders nest deeper than {DEEPEST}: what is in here is not checked");
        return problem(message, Some("name the folder itself"));
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return problem(format!("failed to list the folder: {error}"), None),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let (entry, kind) = match entry.and_then(|entry| Ok((entry.file_type()?, entry))) {
            Ok((kind, entry)) => (entry, kind),
            Err(error) => {
                problem(format!("failed to list the folder: {error}"), None);
                continue;
            }
        };
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            folders.push(path);
        } else if kind.is_file()
            && let Some(ending) = path.extension().and_then(OsStr::to_str)
            && ENDINGS.contains(&ending)
        {
            found.push(path);
        }
    }
    folders.sort_unstable();
    for folder in folders {
        walk(&folder, depth - 1, found, problems);
    }
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
        let found = list(&[at("f"), folder.path().to_owned(), at("a.yaml")]).files;
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
    fn a_folder_that_cannot_be_listed_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        walk(&folder.path().join("gone"), 2, &mut found, &mut problems);
        assert_eq!((found.len(), problems.len()), (0, 1));
        assert!(problems[0].message.contains("failed to list"));
    }

    #[test]
    fn large_files_are_not_read_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.as_file_mut().set_len(LARGEST_FILE as u64 * 3).unwrap();
        assert_eq!(read(file.path()).unwrap().len(), LARGEST_FILE + 1);
    }
}
