//! Where things are, and what this process may do.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

/// The target directory, wherever the user's environment and configuration put it.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let mut command = Command::new("cargo");
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&process::output(&mut command)?)
        .context("failed to read what `cargo metadata` says")?;
    let dir = metadata["target_directory"]
        .as_str()
        .context("`cargo metadata` names no target directory")?;
    Ok(PathBuf::from(dir))
}

/// The user's cache directory for tools and kernels that are slow to get.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => home()?.join(".cache"),
    };
    Ok(base.join("spo"))
}

/// Where cargo installs programs.
pub(crate) fn cargo_bin() -> Result<PathBuf> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => home()?.join(".cargo"),
    };
    Ok(home.join("bin"))
}

fn home() -> Result<PathBuf> {
    std::env::var_os("HOME")
        .map(PathBuf::from)
        .context("HOME is not set")
}

/// The path of a program on the search path; the administrator's directories count too, since
/// an ordinary user's path often leaves them out.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| {
            fs::metadata(file).is_ok_and(|data| data.is_file() && data.mode() & 0o111 != 0)
        })
}

/// How this process gets things done that need root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// It is root.
    Root,
    /// `sudo` asks for no password.
    Sudo,
    /// Not at all.
    None,
}

impl Privilege {
    pub(crate) fn find() -> Self {
        if is_root() {
            Self::Root
        } else if which("sudo").is_some()
            && process::succeeds(Command::new("sudo").args(["-n", "true"]))
        {
            Self::Sudo
        } else {
            Self::None
        }
    }

    /// A command that runs `program` as root; the caller has seen to it that there is a way.
    pub(crate) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match self {
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.arg("-nE").arg(program);
                command
            }
            Self::Root | Self::None => Command::new(program),
        }
    }
}

/// Whether the effective user is root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}
