//! The tier `host`: the kernel of this machine, as root.

use std::path::Path;

use anyhow::Result;

use super::kernel_tests::{ARGS, KernelTests};
use super::outcome;
use crate::env::Privilege;
use crate::process;
use crate::setup::mounts;
use crate::setup::needs::{self, Group};
use crate::table::Outcome;

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Runs the kernel tests here.
pub(crate) fn run(target: &Path) -> Result<Outcome> {
    let privilege = Privilege::find();
    if privilege == Privilege::None {
        return Ok(Outcome::Skipped(
            "needs root, or sudo without a password: run it as root".to_owned(),
        ));
    }
    if !Path::new(BTF).exists() {
        return Ok(Outcome::Skipped(format!(
            "this kernel has no type information ({BTF})"
        )));
    }
    let unmet = needs::ensure(&[Group::Host]);
    if !unmet.is_empty() {
        eprintln!("some tests will not find their programs: {unmet}");
    }
    for line in mounts::ensure()? {
        eprintln!("{line}");
    }
    let tests = KernelTests::build(target)?;
    let mut said = String::new();
    let mut failure = None;
    for program in &tests.tests {
        let mut command = privilege.command(program);
        command
            .args(ARGS)
            .envs(tests.variables("host"))
            .current_dir(KernelTests::directory());
        let (status, text) = process::tee(process::without_cargo(&mut command))?;
        said.push_str(&text);
        if !status.success() && failure.is_none() {
            failure = Some(format!("{status}"));
        }
    }
    Ok(match outcome(&said, failure) {
        Outcome::Passed(detail) if !unmet.is_empty() => {
            Outcome::Passed(format!("{detail}; without {}", unmet.what.join(", ")))
        }
        outcome => outcome,
    })
}
