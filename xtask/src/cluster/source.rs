//! The source of Kubernetes as Debian has it, unpacked so that Go 1.19 builds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::log::Log;
use crate::apt::Archive;

/// What the programs of this source call themselves.
pub(super) const VERSION: &str = "1.20.2";
/// The suite whose source package and compiler fit each other.
pub(super) const SUITE: &str = "bookworm";
/// Debian went back to 1.20.2 after it had published 1.20.5.
const PACKAGE_VERSION: &str = "1.20.5+really1.20.2";
/// The import path of the whole source.
pub(super) const MODULE: &str = "k8s.io/kubernetes";

/// A copy that is old, below `vendor`.
const REFLECT: &str = "github.com/modern-go/reflect2";
/// Debian's package of a newer one.
const REFLECT_PACKAGE: &str = "golang-github-modern-go-reflect2-dev";

/// Fetches, unpacks and patches the source below `work`, a folder that serves as GOPATH; returns
/// the source's own folder.
pub(super) fn unpack(archive: &Archive, work: &Path, log: &Log) -> Result<PathBuf> {
    let downloads = work.join("downloads");
    fs::create_dir_all(&downloads)
        .with_context(|| format!("failed to make the folder {}", downloads.display()))?;
    let mut files = Vec::new();
    for file in archive.source("kubernetes")? {
        files.push(taken(&file, &downloads)?);
    }
    let with_end = |end: &str| {
        files
            .iter()
            .find(|file| file.to_string_lossy().ends_with(end))
            .with_context(|| format!("Debian's source package has no file *{end}"))
    };
    let upstream = with_end(".orig.tar.gz")?;
    ensure!(
        upstream.to_string_lossy().contains(PACKAGE_VERSION),
        "{} is not version {PACKAGE_VERSION}",
        upstream.display()
    );
    let source = work.join("src").join(MODULE);
    untar(upstream, &source, log)?;
    let debian = work.join("debian");
    untar(with_end(".debian.tar.xz")?, &debian, log)?;
    patch(&source, &debian.join("patches"), log)?;
    let newer = taken(&archive.binary(REFLECT_PACKAGE)?, &downloads)?;
    replace_reflect(&source, &newer, work, log)?;
    Ok(source)
}

/// Moves a download, which the next one would remove.
fn taken(file: &Path, to: &Path) -> Result<PathBuf> {
    let name = file.file_name().context("a download has a name")?;
    let to = to.join(name);
    fs::rename(file, &to)
        .with_context(|| format!("failed to move {} to {}", file.display(), to.display()))?;
    Ok(to)
}

fn untar(file: &Path, to: &Path, log: &Log) -> Result<()> {
    fs::create_dir_all(to)
        .with_context(|| format!("failed to make the folder {}", to.display()))?;
    log.run(
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(file)
            .arg("--directory")
            .arg(to)
            .arg("--strip-components=1"),
    )
}

/// Applies what Debian changed, in its order.
fn patch(source: &Path, patches: &Path, log: &Log) -> Result<()> {
    let series = patches.join("series");
    let names = fs::read_to_string(&series)
        .with_context(|| format!("failed to read {}", series.display()))?;
    for name in names.lines().map(str::trim) {
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        log.run(
            Command::new("patch")
                .current_dir(source)
                .args(["--silent", "--strip=1", "--force", "--input"])
                .arg(patches.join(name)),
        )?;
    }
    Ok(())
}

/// The vendored reflect2 reads the inside of Go's maps as it was before Go 1.18, so that a server
/// built with a later Go crashes. Debian has a release that does not. Debian's package holds only
/// Go files; the assembler stubs, empty files that must be there, stay.
fn replace_reflect(source: &Path, package: &Path, work: &Path, log: &Log) -> Result<()> {
    let unpacked = work.join("reflect2");
    log.run(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(package)
            .arg(&unpacked),
    )?;
    let vendored = source.join("vendor").join(REFLECT);
    let newer = unpacked.join("usr/share/gocode/src").join(REFLECT);
    for old in go_files(&vendored)? {
        fs::remove_file(&old).with_context(|| format!("failed to remove {}", old.display()))?;
    }
    let files = go_files(&newer)?;
    ensure!(!files.is_empty(), "{REFLECT_PACKAGE} holds no Go file");
    for file in files {
        let to = vendored.join(file.file_name().context("a Go file has a name")?);
        fs::copy(&file, &to)
            .with_context(|| format!("failed to copy {} to {}", file.display(), to.display()))?;
    }
    Ok(())
}

/// The Go files of a folder, tests not among them.
pub(super) fn go_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("failed to read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(context)? {
        let path = entry.with_context(context)?.path();
        let name = path.to_string_lossy();
        if name.ends_with(".go") && !name.ends_with("_test.go") {
            files.push(path);
        }
    }
    Ok(files)
}
