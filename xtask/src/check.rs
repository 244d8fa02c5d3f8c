//! `check` and `ci`: what can be said about the code without running it.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::env::{self, root, target_dir};
use crate::setup::ebpf::Compiler;
use crate::table::{Outcome, Table};
use crate::{codegen, process, setup, test, tools};

/// A check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// `cargo fmt --check`
    Fmt,
    /// Lints, with warnings as errors
    Clippy,
    /// Lints of the eBPF programs, which are compiled for this machine to that end
    ClippyEbpf,
    /// The documentation, with warnings as errors
    Doc,
    /// Licences, sources, advisories and duplicates of the dependencies
    Deny,
    /// Generated files are what `codegen` writes
    Codegen,
    /// The code compiles for aarch64
    Aarch64,
}

/// The verb `check`.
pub(crate) fn run(only: &[Scope]) -> Result<ExitCode> {
    let mut table = Table::default();
    run_into(&mut table, only)?;
    Ok(table.finish())
}

/// The verb `ci`: all checks, then all tests.
pub(crate) fn ci() -> Result<ExitCode> {
    let mut table = Table::default();
    run_into(&mut table, &[])?;
    test::run_into(&mut table, &[])?;
    Ok(table.finish())
}

fn run_into(table: &mut Table, only: &[Scope]) -> Result<()> {
    let target = target_dir()?;
    // Checks work without an eBPF compiler; with one, they see what is built later.
    let unmet = setup::for_building()?;
    if !unmet.is_empty() {
        eprintln!("{unmet}");
    }
    for scope in Scope::value_variants()
        .iter()
        .filter(|scope| only.is_empty() || only.contains(scope))
    {
        match scope {
            Scope::Fmt => table.step("fmt", || fmt(&target)),
            Scope::Clippy => table.step("clippy", || clippy(&target)),
            Scope::ClippyEbpf => table.step("clippy ebpf", || clippy_ebpf(&target)),
            Scope::Doc => table.step("doc", || doc(&target)),
            Scope::Deny => table.step("deny", deny),
            Scope::Codegen => table.step("codegen", codegen),
            Scope::Aarch64 => table.step("aarch64", || aarch64(&target)),
        }
    }
    Ok(())
}

fn passes(command: &mut Command) -> Result<Outcome> {
    process::run(command)?;
    Ok(Outcome::Passed(String::new()))
}

/// Names the files; `cargo fmt` shows and makes the changes.
fn fmt(target: &Path) -> Result<Outcome> {
    let args = ["fmt", "--all", "--check", "--", "--files-with-diff"];
    let files = process::cargo(&root(), target)
        .args(args)
        .output()
        .context("failed to run cargo fmt")?;
    if files.status.success() {
        return Ok(Outcome::Passed(String::new()));
    }
    let files = String::from_utf8_lossy(&files.stdout).into_owned()
        + &String::from_utf8_lossy(&files.stderr);
    eprint!("{files}");
    Ok(Outcome::Failed(format!(
        "{} files would change: run cargo fmt --all",
        files.lines().count()
    )))
}

fn clippy(target: &Path) -> Result<Outcome> {
    let args = [
        "clippy",
        "--workspace",
        "--exclude",
        "spo-ebpf",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    passes(process::cargo(&root(), target).args(args))
}

fn clippy_ebpf(target: &Path) -> Result<Outcome> {
    passes(process::cargo(&root(), target).args([
        "clippy",
        "--package",
        "spo-ebpf",
        "--",
        "-D",
        "warnings",
    ]))
}

fn doc(target: &Path) -> Result<Outcome> {
    let args = [
        "doc",
        "--workspace",
        "--exclude",
        "spo-ebpf",
        "--no-deps",
        "--document-private-items",
    ];
    passes(
        process::cargo(&root(), target)
            .args(args)
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn deny() -> Result<Outcome> {
    let deny = tools::cargo_deny()?;
    let check = |what: &[&str]| {
        process::tee(
            Command::new(&deny)
                .current_dir(root())
                .args(["--color", "never", "check"])
                .args(what),
        )
    };
    let (status, _) = check(&["licenses", "bans", "sources"])?;
    if !status.success() {
        return Ok(Outcome::Failed(format!(
            "cargo deny check licenses bans sources: {status}"
        )));
    }
    let (status, said) = check(&["advisories"])?;
    if status.success() {
        return Ok(Outcome::Passed(
            "licences, bans, sources, advisories".to_owned(),
        ));
    }
    if said.contains("failed to fetch advisory database") {
        return Ok(Outcome::Passed(
            "licences, bans, sources; advisories skipped: their database cannot be reached"
                .to_owned(),
        ));
    }
    Ok(Outcome::Failed(format!(
        "cargo deny check advisories: {status}"
    )))
}

fn codegen() -> Result<Outcome> {
    Ok(match codegen::check()? {
        codegen::Outcome::Fresh { version } => {
            Outcome::Passed(format!("from linux-libc-dev {version}"))
        }
        codegen::Outcome::Newer { version, calls } => Outcome::Passed(format!(
            "linux-libc-dev {version} has {calls} more calls, and contradicts nothing"
        )),
        codegen::Outcome::Skipped { reason } => Outcome::Skipped(reason),
    })
}

/// What cannot be run is at least compiled: with the target's library if rustup has it, else with
/// the library's sources, which the eBPF compiler has. Nothing is linked, so that no cross
/// compiler is needed.
fn aarch64(target: &Path) -> Result<Outcome> {
    const TRIPLE: &str = "aarch64-unknown-linux-gnu";
    if cfg!(target_arch = "aarch64") {
        return Ok(Outcome::Skipped("this machine is one".to_owned()));
    }
    let unmet = setup::for_building()?;
    if !unmet.is_empty() {
        return Ok(Outcome::Skipped(unmet.to_string()));
    }
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let mut command;
    let mut how;
    if Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(TRIPLE)
        .exists()
    {
        command = process::cargo(&root(), target);
        how = "rustup's library".to_owned();
    } else if let Some(compiler) = Compiler::all().next() {
        command = Command::new("rustup");
        command
            .current_dir(root())
            .env("CARGO_TARGET_DIR", target)
            .env("RUSTC_BOOTSTRAP", "1");
        command.args(["run", compiler.toolchain, "cargo", "-Z", "build-std"]);
        how = format!("toolchain `{}`", compiler.toolchain);
    } else {
        return Ok(Outcome::Skipped("no compiler for it".to_owned()));
    }
    if env::which("aarch64-linux-gnu-gcc").is_none() {
        // ring has parts in C. They are not looked at here, and would be linked only.
        for tool in ["CC", "AR"] {
            command.env(format!("{tool}_{}", TRIPLE.replace('-', "_")), "true");
        }
        how += ", ring's parts in C left out";
    }
    command.env("SPO_EBPF", "skip").args([
        "check",
        "--package",
        "spo-userspace",
        "--target",
        TRIPLE,
    ]);
    process::run(&mut command)?;
    Ok(Outcome::Passed(format!("compiles, with {how}; not run")))
}
