//! `build`: the release binary, with the eBPF objects inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{env, process, setup};

/// The verb: prints where the binary is.
pub(crate) fn run() -> Result<ExitCode> {
    let binary = release(&env::target_dir()?)?;
    let size = fs::metadata(&binary)
        .with_context(|| format!("failed to look at {}", binary.display()))?
        .len();
    let tenths = size.saturating_mul(10) / (1024 * 1024);
    println!("{} ({}.{} MiB)", binary.display(), tenths / 10, tenths % 10);
    Ok(ExitCode::SUCCESS)
}

/// Sets up what is missing, builds, and returns the path of the binary.
pub(crate) fn release(target: &Path) -> Result<PathBuf> {
    let unmet = setup::for_building()?;
    if !unmet.is_empty() {
        bail!("{unmet}");
    }
    let binary = target.join("release/spo");
    if !binary.exists() {
        eprintln!(
            "building {} (some minutes, the first time)",
            binary.display()
        );
    }
    // Quiet, since `record` shows what follows; errors are shown all the same.
    process::run(process::cargo(&env::root(), target).args([
        "build",
        "--release",
        "--quiet",
        "--package",
        "spo-userspace",
    ]))?;
    Ok(binary)
}
