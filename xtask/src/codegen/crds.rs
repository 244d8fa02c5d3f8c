//! The custom resource definitions in `deploy/crds/`, the daemon's own profile, and what the chart
//! repeats of `deploy/`.
//!
//! The types that the definitions come from are in spo-userspace, and a unit test of it compares them
//! with the files; others compare the profile with the recording that it comes from, and the chart. The same tests write them, so that there is nothing
//! else to keep in step. They need no eBPF programs.

use anyhow::{Result, ensure};

use crate::{env, process};

/// In this order: the chart has copies of what the others write.
const TESTS: [&str; 3] = [
    "api::crds::the_files_are_what_the_types_say",
    "deploy::our_own_profiles_are_what_was_recorded",
    "deploy::the_chart_has_what_the_base_has",
];

/// Writes the files.
pub(super) fn write() -> Result<()> {
    test(true)
}

/// Fails if a file is not what would be written.
pub(super) fn check() -> Result<()> {
    test(false)
}

fn test(write: bool) -> Result<()> {
    for name in TESTS {
        let mut command = process::cargo(&env::root(), &env::target_dir()?);
        command.args(["test", "--package", "spo-userspace", "--test", "it"]);
        command.args(["--", "--exact", name]);
        if write {
            command.env("SPO_WRITE_CRDS", "1");
        }
        let (status, said) = process::tee(&mut command)?;
        ensure!(
            status.success(),
            "deploy/ is not what spo-userspace/src/api and deploy/base say: rerun `cargo xtask codegen`"
        );
        ensure!(said.contains("1 passed"), "there is no test {name}");
    }
    Ok(())
}
