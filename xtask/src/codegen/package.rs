//! Debian's package linux-libc-dev, fetched and unpacked in the user's cache folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::apt::Archive;
use crate::env::cache_dir;
use crate::process;

/// The package's name.
pub(super) const PACKAGE: &str = "linux-libc-dev";
/// Debian's newest suite never changes its name.
const SUITE: &str = "sid";

/// An unpacked package.
pub(super) struct Package {
    /// Its version.
    pub(super) version: String,
    folder: PathBuf,
}

impl Package {
    /// Reads a file of the package.
    pub(super) fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.folder.join(path))
            .with_context(|| format!("{PACKAGE} {} has no readable {path}", self.version))
    }

    /// The package as an earlier run left it.
    pub(super) fn cached(version: &str) -> Option<Self> {
        let folder = cache_dir().ok()?.join(PACKAGE).join(version);
        folder.is_dir().then(|| Self {
            version: version.to_owned(),
            folder,
        })
    }

    /// Fetches the newest package with apt.
    pub(super) fn fetch_newest() -> Result<Self> {
        let packages = cache_dir()?.join(PACKAGE);
        let archive = Archive::open(SUITE)?.with_context(|| {
            format!(
                "{PACKAGE} with the headers of every architecture comes from Debian, and this \
                 machine has no package source of Debian's; unpack one into {}/VERSION",
                packages.display()
            )
        })?;
        let file = archive.binary(PACKAGE)?;
        let version = process::output(
            Command::new("dpkg-deb")
                .args(["--field"])
                .arg(&file)
                .arg("Version"),
        )?;
        let version = version.trim();
        if let Some(package) = Self::cached(version) {
            return Ok(package);
        }

        // Only a rename makes the folder valid, so that half an unpacking is never used.
        let folder = packages.join(version);
        let unpacked = packages.join("unpacked");
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked).context("failed to remove an earlier unpacking")?;
        }
        fs::create_dir_all(&packages).context("failed to make the cache folder")?;
        process::output(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&file)
                .arg(&unpacked),
        )?;
        fs::rename(&unpacked, &folder)
            .with_context(|| format!("failed to make the folder {}", folder.display()))?;
        Ok(Self {
            version: version.to_owned(),
            folder,
        })
    }
}
