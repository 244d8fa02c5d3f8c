//! Finding programs as a shell does.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::profile::diagnostic::escape;

/// Why there is nothing to execute.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Exit code 127.
    #[error("{0}: command not found")]
    NotFound(String),
    /// Exit code 126.
    #[error("{0}: cannot be executed: it is a directory, or lacks the permission")]
    NotExecutable(String),
}

/// The file that a command name stands for: a path if it holds a slash, else looked for in `PATH`.
pub fn find(name: &OsStr) -> Result<PathBuf, ProgramError> {
    let shown = || escape(&name.to_string_lossy());
    let mut denied = false;
    let candidates: Vec<PathBuf> = if name.to_string_lossy().contains('/') {
        vec![PathBuf::from(name)]
    } else {
        let path =
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .collect()
    };
    for candidate in candidates {
        match is_executable(&candidate) {
            Some(true) => return Ok(candidate),
            Some(false) => denied = true,
            None => {}
        }
    }
    if name.is_empty() || !denied {
        Err(ProgramError::NotFound(shown()))
    } else {
        Err(ProgramError::NotExecutable(shown()))
    }
}

fn is_executable(path: &Path) -> Option<bool> {
    let data = fs::metadata(path).ok()?;
    Some(data.is_file() && access(path, AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_a_shell() {
        assert!(find(OsStr::new("sh")).unwrap().ends_with("sh"));
        assert!(find(OsStr::new("/bin/sh")).is_ok());
        assert!(matches!(
            find(OsStr::new("no-such-program-here")),
            Err(ProgramError::NotFound(_))
        ));
        assert!(matches!(
            find(OsStr::new("")),
            Err(ProgramError::NotFound(_))
        ));
        assert!(matches!(
            find(OsStr::new("/etc/passwd")),
            Err(ProgramError::NotExecutable(_))
        ));
        assert!(matches!(
            find(OsStr::new("/etc")),
            Err(ProgramError::NotExecutable(_))
        ));
    }
}
