//! A compiler for the eBPF programs: rustup's nightly with its sources, or the distribution's.
//!
//! `spo-userspace/build.rs` looks for the same two toolchains in the same order.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::linker;
use super::needs::Unmet;
use super::packages::{Manager, apt_candidate};
use crate::env::{Privilege, which};
use crate::process;

/// The oldest compiler that takes the workspace (`rust-version` in Cargo.toml).
const OLDEST: u32 = 95;
const DEBIAN: [&str; 2] = ["rustc-web", "rust-web-src"];
const LINK: &str = "rustup toolchain link bpf";
const RUSTUP: &str = "rustup toolchain install nightly --component rust-src --profile minimal";

/// A rustup toolchain that has the sources of the library `core`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// `nightly` or `bpf`.
    pub(crate) toolchain: &'static str,
    /// Such as `1.96.0`.
    pub(crate) release: String,
    /// The major version of its LLVM, which the linker must be able to read.
    pub(crate) llvm: u32,
}

impl Compiler {
    /// The compilers that are there, in the order in which a build tries them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        ["nightly", "bpf"].into_iter().filter_map(Self::of)
    }

    fn of(toolchain: &'static str) -> Option<Self> {
        let rustc = |args: &[&str]| {
            let command = &mut Command::new("rustup");
            process::output(command.args(["run", toolchain, "rustc"]).args(args)).ok()
        };
        let sysroot = rustc(&["--print", "sysroot"])?;
        has_sources(Path::new(sysroot.trim())).then_some(())?;
        Self::parse(toolchain, &rustc(&["-vV"])?)
    }

    /// Reads the output of `rustc -vV`.
    fn parse(toolchain: &'static str, version: &str) -> Option<Self> {
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let release = field("release")?.to_owned();
        let llvm = field("LLVM version")?.split('.').next()?.parse().ok()?;
        Some(Self {
            toolchain,
            release,
            llvm,
        })
    }
}

impl std::fmt::Display for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            toolchain,
            release,
            llvm,
        } = self;
        write!(
            f,
            "rustc {release} with sources and LLVM {llvm}, toolchain `{toolchain}`"
        )
    }
}

/// A compiler and a linker that fits it, installed when they are missing: what was found, and what
/// is missing still.
pub(crate) fn ensure() -> Result<(Vec<String>, Unmet)> {
    let mut unmet = Unmet::default();
    if which("rustup").is_none() {
        unmet.add("rustup", "install rustup: https://rustup.rs");
        return Ok((Vec::new(), unmet));
    }
    let compilers: Vec<_> = Compiler::all().collect();
    if let Some((compiler, linker)) = compilers
        .iter()
        .find_map(|compiler| Some((compiler, linker::find(compiler)?)))
    {
        return Ok((found(compiler, &linker), unmet));
    }
    for compiler in &compilers {
        match linker::install(compiler)? {
            Ok(linker) => return Ok((found(compiler, &linker), unmet)),
            Err(missing) if unmet.is_empty() => unmet = missing,
            Err(_) => {}
        }
    }
    if compilers.iter().any(|compiler| compiler.toolchain == "bpf") {
        return Ok((Vec::new(), unmet));
    }
    // The distribution's compiler first, since installing it changes nothing that the user has of
    // rustup's; and it fits the distribution's LLVM.
    let compiler = match from_distribution()? {
        Some(compiler) => compiler,
        None if !compilers.is_empty() => return Ok((Vec::new(), unmet)),
        None => match from_rustup() {
            Some(compiler) => compiler,
            None => return Ok((Vec::new(), advice())),
        },
    };
    let linker = match linker::find(&compiler) {
        Some(linker) => Ok(linker),
        None => linker::install(&compiler)?,
    };
    Ok(match linker {
        Ok(linker) => (found(&compiler, &linker), Unmet::default()),
        Err(missing) => (Vec::new(), missing),
    })
}

fn found(compiler: &Compiler, linker: &Path) -> Vec<String> {
    vec![
        format!("eBPF compiler: {compiler}"),
        format!("bpf-linker: {}", linker.display()),
    ]
}

/// What to do about a compiler where nothing could be done from here.
fn advice() -> Unmet {
    let mut unmet = Unmet::default();
    let debian = Manager::find() == Some(Manager::Apt) && debian_is_new_enough(Privilege::None);
    let packages = || format!("{} && {LINK} /usr", Manager::Apt.advice(&DEBIAN));
    unmet.add(
        "a compiler for eBPF",
        if debian {
            packages()
        } else {
            RUSTUP.to_owned()
        },
    );
    unmet
}

/// The distribution's compiler, installed if it may be, and linked into rustup.
fn from_distribution() -> Result<Option<Compiler>> {
    if distribution().is_none() && Manager::find() == Some(Manager::Apt) {
        let privilege = Privilege::find();
        if privilege != Privilege::None && debian_is_new_enough(privilege) {
            Manager::Apt.install(privilege, &DEBIAN)?;
        }
    }
    let Some(prefix) = distribution() else {
        return Ok(None);
    };
    eprintln!(
        "linking {} into rustup as toolchain `bpf`",
        prefix.join("bin/rustc").display()
    );
    process::run(
        Command::new("rustup")
            .args(LINK.split(' ').skip(1))
            .arg(&prefix),
    )?;
    Compiler::of("bpf")
        .map(Some)
        .context("rustup does not run the compiler that was linked as toolchain `bpf`")
}

/// Where the distribution has a compiler that is new enough and has its sources.
fn distribution() -> Option<PathBuf> {
    let prefix = PathBuf::from("/usr");
    let version = process::output(Command::new(prefix.join("bin/rustc")).arg("-vV")).ok()?;
    let compiler = Compiler::parse("bpf", &version)?;
    (is_new_enough(&compiler.release) && has_sources(&prefix)).then_some(prefix)
}

fn debian_is_new_enough(privilege: Privilege) -> bool {
    apt_candidate(DEBIAN[0], privilege).is_some_and(|version| is_new_enough(&version))
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(1)), Some(Ok(minor))) if minor >= OLDEST)
}

/// Adds the sources to the user's nightly as it is, or installs one where there is none; the
/// user's nightly is not updated.
fn from_rustup() -> Option<Compiler> {
    let exists =
        process::succeeds(Command::new("rustup").args(["run", "nightly", "rustc", "--version"]));
    let mut command = Command::new("rustup");
    if exists {
        command.args(["component", "add", "rust-src", "--toolchain", "nightly"]);
    } else {
        command.args(RUSTUP.split(' ').skip(1));
    }
    eprintln!("running {}", process::line(&command));
    if let Err(error) = process::output(&mut command) {
        eprintln!("{error:#}");
    }
    Compiler::of("nightly")
}

fn has_sources(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core").exists()
}

#[cfg(test)]
mod tests {
    use super::{Compiler, is_new_enough};

    #[test]
    fn reads_what_rustc_says() {
        let said = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let compiler = Compiler::parse("bpf", said).unwrap();
        assert_eq!(
            compiler.to_string(),
            "rustc 1.96.0 with sources and LLVM 22, toolchain `bpf`"
        );
        assert_eq!(Compiler::parse("bpf", "rustc 1.96.0"), None);
    }

    #[test]
    fn compares_versions_by_number() {
        assert!(is_new_enough("1.96.0+dfsg1-1~deb12u2"));
        assert!(is_new_enough("1.101.0-nightly"));
        assert!(!is_new_enough("1.85.0+dfsg3-1"));
        assert!(!is_new_enough("(none)"));
    }
}
