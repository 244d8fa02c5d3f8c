//! The guest's kernel, from the distribution's archive, kept in the user's cache.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::Kernel;
use crate::env::{Privilege, cache_dir, which};
use crate::process;
use crate::setup::packages::apt_candidate;

/// The path of a kernel's image; or the reason why it cannot be had here.
pub(crate) fn fetch(kernel: &Kernel) -> Result<Result<PathBuf, String>> {
    let dir = cache_dir()?.join("kernels").join(kernel.name);
    let image = dir.join("vmlinuz");
    if image.exists() {
        return Ok(Ok(image));
    }
    if !cfg!(target_arch = "x86_64") {
        return Ok(Err(
            "the guest is an x86_64 machine, and the tests are built for this one".to_owned(),
        ));
    }
    if which("apt-get").is_none() || which("dpkg-deb").is_none() {
        return Ok(Err(format!(
            "the kernel is Debian's, and there is no apt-get here; put its vmlinuz at {}",
            image.display()
        )));
    }
    let Some(package) = package(kernel)? else {
        return Ok(Err(format!(
            "the package sources of this machine have no {}*; put its vmlinuz at {}",
            kernel.prefix,
            image.display()
        )));
    };
    download(&package, &dir)?;
    Ok(Ok(image))
}

/// The package of the newest build; the lists of packages are fetched first where there are none.
fn package(kernel: &Kernel) -> Result<Option<String>> {
    if apt_candidate(kernel.depends, Privilege::find()).is_none() {
        return Ok(None);
    }
    let said = process::output(Command::new("apt-cache").args(["depends", kernel.depends]))?;
    let depends = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(depends
        .filter(|name| name.starts_with(kernel.prefix))
        .map(str::to_owned)
        .next())
}

/// Leaves `vmlinuz` in `dir`; what is half done is never seen there.
fn download(package: &str, dir: &Path) -> Result<()> {
    let part = dir.with_extension("part");
    let context = || format!("failed to unpack {package} into {}", part.display());
    if part.exists() {
        fs::remove_dir_all(&part).with_context(context)?;
    }
    fs::create_dir_all(&part).with_context(context)?;
    eprintln!("downloading {package}");
    process::output(
        Command::new("apt-get")
            .args(["download", "-q", package])
            .current_dir(&part),
    )?;
    let Some(deb) = entries(&part)?
        .into_iter()
        .find(|path| path.extension() == Some(OsStr::new("deb")))
    else {
        bail!("apt-get download left no package in {}", part.display());
    };
    process::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&part))?;
    let image = entries(&part.join("boot"))?
        .into_iter()
        .find(|path| path.to_string_lossy().contains("/vmlinuz-"));
    let image = image.with_context(|| format!("{package} holds no boot/vmlinuz-*"))?;
    fs::create_dir_all(dir).with_context(context)?;
    fs::write(dir.join("package"), format!("{package}\n")).with_context(context)?;
    fs::rename(&image, dir.join("vmlinuz")).with_context(context)?;
    fs::remove_dir_all(&part).with_context(context)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("failed to read {}", dir.display());
    dir.read_dir()
        .with_context(context)?
        .map(|entry| Ok(entry.with_context(context)?.path()))
        .collect()
}
