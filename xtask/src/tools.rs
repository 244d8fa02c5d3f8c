//! Cargo's companions that `check` needs, built once into the user's cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::env::{cache_dir, which};
use crate::process;

const DENY_VERSION: &str = "0.20.2";

/// The path of `cargo-deny`: the user's, or ours, built when there is none (minutes, once).
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    if let Some(path) = which("cargo-deny") {
        return Ok(path);
    }
    let cache = cache_dir()?;
    let path = cache.join(format!("bin/cargo-deny-{DENY_VERSION}"));
    if process::succeeds(Command::new(&path).arg("--version")) {
        return Ok(path);
    }
    let root = cache.join("build-cargo-deny");
    let mut command = Command::new("cargo");
    command.args([
        "install",
        "cargo-deny",
        "--version",
        DENY_VERSION,
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
    let context = || format!("failed to put cargo-deny into {}", cache.display());
    fs::create_dir_all(cache.join("bin")).with_context(context)?;
    fs::rename(root.join("bin/cargo-deny"), &path).with_context(context)?;
    fs::remove_dir_all(&root).with_context(context)?;
    Ok(path)
}
