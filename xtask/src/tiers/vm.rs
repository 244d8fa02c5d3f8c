//! The tier `vm`: the same tests on other kernels, in QEMU.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::kernel_tests::{ARGS, KernelTests};
use super::outcome;
use crate::env::root;
use crate::setup::needs::{self, Group};
use crate::table::Outcome;
use crate::vm::{self, Guest, Kernel};

/// Emulation is some twenty times slower than the machine itself; the tests take nine minutes so.
const LIMIT: Duration = Duration::from_mins(20);

/// Boots a kernel with the kernel tests in its initramfs.
pub(crate) fn run(target: &Path, kernel: &Kernel) -> Result<Outcome> {
    let unmet = needs::ensure(&[Group::Vm]);
    if !unmet.is_empty() {
        return Ok(Outcome::Skipped(unmet.to_string()));
    }
    let image = match vm::kernel::fetch(kernel)? {
        Ok(image) => image,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let tests = KernelTests::build(target)?;
    let mut files = tests.helpers.clone();
    files.push(tests.spo.clone());
    files.extend(Some(root().join("tests/data")).filter(|data| data.exists()));
    let guest = Guest {
        programs: tests.tests.clone(),
        args: ARGS.map(str::to_owned).to_vec(),
        variables: tests.variables("vm").to_vec(),
        files,
        directory: KernelTests::directory(),
    };
    let dir = target.join("vm");
    fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
    let initramfs = dir.join(format!("{}.cpio", kernel.name));
    guest.write(&initramfs)?;
    let log = |run: &str| dir.join(format!("{}{run}.log", kernel.name));
    let mut broke = false;
    let mut report = vm::boot(&image, &initramfs, &log(""), LIMIT)?;
    if let (true, Some(trouble)) = (report.is_broken(), report.failure()) {
        // Emulated processors wait for each other for ever, now and then, on a machine that does
        // much else. A kernel that our programs break, breaks again.
        eprintln!(
            "the guest's kernel broke ({trouble}; see {}): once more, from the beginning",
            log("").display()
        );
        report = vm::boot(&image, &initramfs, &log("-again"), LIMIT)?;
        broke = true;
    }
    let outcome = outcome(&report.said, report.failure());
    Ok(match outcome {
        Outcome::Passed(text) if broke => {
            Outcome::Passed(format!("{text}; the guest's kernel broke in a run before"))
        }
        outcome => outcome,
    })
}
