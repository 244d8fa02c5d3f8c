//! The custom resource definitions in `deploy/crds/`.
//!
//! The types that they come from are in spo-userspace, and a unit test of it compares them with
//! the files. The same test writes them, so that there is nothing else to keep in step. It needs
//! no eBPF programs.

use anyhow::{Result, ensure};

use crate::{env, process};

const TEST: &str = "api::crds::the_files_are_what_the_types_say";

/// Writes the files.
pub(super) fn write() -> Result<()> {
    test(true)
}

/// Fails if a file is not what would be written.
pub(super) fn check() -> Result<()> {
    test(false)
}

fn test(write: bool) -> Result<()> {
    let mut command = process::cargo(&env::root(), &env::target_dir()?);
    command.args(["test", "--package", "spo-userspace", "--test", "it"]);
    command.args(["--", "--exact", TEST]);
    if write {
        command.env("SPO_WRITE_CRDS", "1");
    }
    let (status, said) = process::tee(&mut command)?;
    ensure!(
        status.success(),
        "deploy/crds is not what spo-userspace/src/api says: rerun `cargo xtask codegen`"
    );
    ensure!(said.contains("1 passed"), "there is no test {TEST}");
    Ok(())
}
