//! Cargo's companions that `check` and `fuzz` need, built once into the user's cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::env::{cache_dir, which};
use crate::process;

/// The path of `cargo-deny`.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    tool("cargo-deny", "0.20.2")
}

/// The path of `cargo-fuzz`.
pub(crate) fn cargo_fuzz() -> Result<PathBuf> {
    tool("cargo-fuzz", "0.13.2")
}

/// The path of a tool: the user's, or ours, built when there is none (minutes, once).
fn tool(name: &str, version: &str) -> Result<PathBuf> {
    if let Some(path) = which(name) {
        return Ok(path);
    }
    let cache = cache_dir()?;
    let path = cache.join(format!("bin/{name}-{version}"));
    if process::succeeds(Command::new(&path).arg("--version")) {
        return Ok(path);
    }
    let root = cache.join(format!("build-{name}"));
    let mut command = Command::new("cargo");
    command.args([
        "install",
        name,
        "--version",
        version,
        "--locked",
        "--force",
        "--no-track",
        "--quiet",
        "--root",
    ]);
    command.arg(&root).env_remove("CARGO_TARGET_DIR");
    eprintln!(
        "running {} (takes some minutes, once)",
        process::line(&command)
    );
    process::run(&mut command)?;
    let context = || format!("failed to put {name} into {}", cache.display());
    fs::create_dir_all(cache.join("bin")).with_context(context)?;
    fs::rename(root.join("bin").join(name), &path).with_context(context)?;
    fs::remove_dir_all(&root).with_context(context)?;
    Ok(path)
}
