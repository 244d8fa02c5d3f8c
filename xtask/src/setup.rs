//! `setup`: whatever is missing for building and testing.

pub(crate) mod ebpf;
mod linker;
pub(crate) mod mounts;
pub(crate) mod needs;
pub(crate) mod packages;

use std::process::ExitCode;

use anyhow::Result;

use self::needs::{Group, Need, Unmet};
use crate::cluster::binaries;
use crate::{tools, vm};

/// The verb: prints a line for everything that it looks at.
pub(crate) fn run(tests: bool, ci: bool) -> Result<ExitCode> {
    let mut groups = vec![Group::Base];
    if tests {
        groups.extend([Group::Oracle, Group::Host, Group::Vm]);
        groups.extend([Group::Cluster, Group::Node, Group::ClusterOracle]);
    }
    let mut unmet = packages(&groups);
    let (found, missing) = ebpf::ensure()?;
    for line in found {
        println!("ok        {line}");
    }
    unmet.extend(missing);
    if tests {
        for line in mounts::ensure()? {
            println!("{line}");
        }
        for kernel in vm::KERNELS {
            match vm::kernel::fetch(kernel)? {
                Ok(image) => println!(
                    "ok        guest kernel {}: {}",
                    kernel.name,
                    image.display()
                ),
                Err(reason) => println!("absent    guest kernel {}: {reason}", kernel.name),
            }
        }
    }
    if tests {
        match binaries::find()? {
            Ok(binaries) => println!("ok        Kubernetes: {}", binaries.origin),
            Err(reason) => println!("absent    Kubernetes: {reason}"),
        }
    }
    if ci {
        println!("ok        cargo-deny: {}", tools::cargo_deny()?.display());
    }
    if unmet.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for what in &unmet.what {
        println!("missing   {what}");
    }
    println!("\nThis could not be installed from here. Run:");
    unmet.commands.dedup();
    for command in &unmet.commands {
        println!("  {command}");
    }
    Ok(ExitCode::FAILURE)
}

/// What every build needs; silent where nothing is missing.
pub(crate) fn for_building() -> Result<Unmet> {
    let mut unmet = needs::ensure(&[Group::Base]);
    let (_, missing) = ebpf::ensure()?;
    unmet.extend(missing);
    Ok(unmet)
}

/// Installs what these groups lack, and prints a line for each of their members.
fn packages(groups: &[Group]) -> Unmet {
    let before = Need::missing(groups);
    let unmet = needs::ensure(groups);
    for need in Need::of(groups) {
        if unmet.what.iter().any(|what| what == need.what) {
            continue;
        }
        let was_missing = before.iter().any(|missing| missing.what == need.what);
        println!(
            "{:9} {}",
            if was_missing { "installed" } else { "ok" },
            need.what
        );
    }
    unmet
}
