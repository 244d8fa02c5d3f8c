//! `bpf-linker`, built against an LLVM that reads what the eBPF compiler writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::ebpf::Compiler;
use super::needs::Unmet;
use super::packages::{Manager, apt_candidate};
use crate::env::{Privilege, cache_dir, cargo_bin, which};
use crate::process;

const VERSION: &str = "0.13.0";
/// The LLVM versions that this release of bpf-linker can be built with.
const SUPPORTED: std::ops::RangeInclusive<u32> = 21..=23;

/// A linker on the search path that fits the compiler.
pub(crate) fn find(compiler: &Compiler) -> Option<PathBuf> {
    which("bpf-linker").filter(|linker| fits(linker, compiler))
}

/// Takes a linker that fits the compiler from the cache, builds one, or fetches a released one.
pub(crate) fn install(compiler: &Compiler) -> Result<Result<PathBuf, Unmet>> {
    let bin = cargo_bin()?.join("bpf-linker");
    let cached =
        |llvm: u32| cache_dir().map(|dir| dir.join(format!("bin/bpf-linker-{VERSION}-llvm{llvm}")));
    let mut candidates = Vec::new();
    for llvm in SUPPORTED.filter(|llvm| *llvm >= compiler.llvm) {
        candidates.push((llvm, cached(llvm)?));
    }
    if let Some((_, file)) = candidates.iter().find(|(_, file)| fits(file, compiler)) {
        eprintln!("taking bpf-linker from {}", file.display());
        copy(file, &bin)?;
        return Ok(Ok(bin));
    }
    for (llvm, file) in &candidates {
        let Some(prefix) = llvm_prefix(*llvm)? else {
            continue;
        };
        build(&prefix, *llvm, file)?;
        copy(file, &bin)?;
        return Ok(Ok(bin));
    }
    Ok(released(compiler, bin))
}

/// Installs a released binary, where a program is there that does so.
fn released(compiler: &Compiler, bin: PathBuf) -> Result<PathBuf, Unmet> {
    let command = format!("cargo binstall --no-confirm bpf-linker@{VERSION}");
    if which("cargo-binstall").is_some() {
        eprintln!("running {command}");
        match process::output(Command::new("cargo").args(command.split(' ').skip(1))) {
            Ok(_) if fits(&bin, compiler) => return Ok(bin),
            Ok(_) => {}
            Err(error) => eprintln!("{error:#}"),
        }
    }
    let mut unmet = Unmet::default();
    let advice = match Manager::find() {
        Some(Manager::Apt) if apt_candidate(&package(compiler.llvm), Privilege::None).is_some() => {
            format!(
                "{} && cargo xtask setup",
                Manager::Apt.advice(&[&package(compiler.llvm)])
            )
        }
        _ => format!(
            "{command} (or unpack a release of https://github.com/aya-rs/bpf-linker into a directory of PATH)"
        ),
    };
    unmet.add(format!("bpf-linker for LLVM {}", compiler.llvm), advice);
    Err(unmet)
}

/// Builds the linker into the cache.
fn build(prefix: &Path, llvm: u32, file: &Path) -> Result<()> {
    let root = cache_dir()?.join("build-bpf-linker");
    let mut command = Command::new("cargo");
    command
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
            "--no-track",
            "--quiet",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{llvm}"),
            "--root",
        ])
        .arg(&root)
        .env("LLVM_PREFIX", prefix)
        // The user's target directory is no place for another project's objects.
        .env_remove("CARGO_TARGET_DIR");
    eprintln!("running {}", process::line(&command));
    process::run(&mut command)?;
    copy(&root.join("bin/bpf-linker"), file)?;
    fs::remove_dir_all(&root).with_context(|| format!("failed to remove {}", root.display()))
}

/// Where this version of LLVM is; its package is installed when it may be.
fn llvm_prefix(llvm: u32) -> Result<Option<PathBuf>> {
    if let Some(prefix) = installed(llvm) {
        return Ok(Some(prefix));
    }
    let privilege = Privilege::find();
    let package = package(llvm);
    if Manager::find() == Some(Manager::Apt)
        && privilege != Privilege::None
        && apt_candidate(&package, privilege).is_some()
    {
        // The linker is a C++ program, too.
        Manager::Apt.install(privilege, &[&package, "g++"])?;
        return Ok(installed(llvm));
    }
    Ok(None)
}

/// The prefix of an installed LLVM: Debian's own place, or what `llvm-config` says.
fn installed(llvm: u32) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    if debian.join("include/llvm-c").exists() && debian.join("bin/llvm-config").exists() {
        return Some(debian);
    }
    let config = |what: &str| process::output(Command::new("llvm-config").arg(what)).ok();
    let version = config("--version")?;
    (version.split('.').next() == Some(&llvm.to_string()))
        .then(|| config("--prefix").map(|prefix| PathBuf::from(prefix.trim())))?
}

fn package(llvm: u32) -> String {
    format!("llvm-{llvm}-dev")
}

/// Whether the linker runs and, as far as one can see, has an LLVM that is new enough. A static
/// binary does not show its version; the build would say.
fn fits(linker: &Path, compiler: &Compiler) -> bool {
    if !process::succeeds(Command::new(linker).arg("--version")) {
        return false;
    }
    let libraries = process::output(Command::new("ldd").arg(linker)).unwrap_or_default();
    llvm_of(&libraries).is_none_or(|llvm| llvm >= compiler.llvm)
}

/// The major version in a line such as `libLLVM.so.22.1 => ...` or `libLLVM-19.so.1 => ...`.
fn llvm_of(libraries: &str) -> Option<u32> {
    libraries.lines().find_map(|line| {
        let name = line.trim().strip_prefix("libLLVM")?;
        name.trim_start_matches(".so.")
            .trim_start_matches('-')
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    })
}

/// Copies a program so that no half of it is ever seen.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().context("a program has a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("failed to create {}", dir.display()))?;
    let part = to.with_extension("part");
    fs::copy(from, &part)
        .with_context(|| format!("failed to copy {} to {}", from.display(), part.display()))?;
    fs::rename(&part, to)
        .with_context(|| format!("failed to rename {} to {}", part.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::llvm_of;

    #[test]
    fn the_version_of_llvm_is_in_the_name_of_its_library() {
        assert_eq!(
            llvm_of("\tlinux-vdso.so.1\n\tlibLLVM.so.22.1 => /usr/lib/libLLVM.so.22.1 (0x7f)\n"),
            Some(22)
        );
        assert_eq!(
            llvm_of("\tlibLLVM-19.so.1 => /usr/lib/libLLVM-19.so.1 (0x7f)\n"),
            Some(19)
        );
        assert_eq!(llvm_of("\tstatically linked\n"), None);
    }
}
