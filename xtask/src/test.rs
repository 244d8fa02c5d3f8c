//! `test`: tiers of tests, and a table of them.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use crate::table::Table;
use crate::{env, tiers, vm};

/// A tier of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// No privileges, no kernel, no network
    Unit,
    /// The kernel of this machine; needs root
    Host,
    /// Other kernels, in QEMU
    Vm,
    /// A real Kubernetes cluster
    Cluster,
}

/// The verb.
pub(crate) fn run(wanted: &[Tier]) -> Result<ExitCode> {
    let mut table = Table::default();
    run_into(&mut table, wanted)?;
    Ok(table.finish())
}

/// Runs the wanted tiers, or all, in their own order.
pub(crate) fn run_into(table: &mut Table, wanted: &[Tier]) -> Result<()> {
    let target = env::target_dir()?;
    for tier in Tier::value_variants()
        .iter()
        .filter(|tier| wanted.is_empty() || wanted.contains(tier))
    {
        match tier {
            Tier::Unit => table.step("unit", || tiers::unit::run(&target)),
            Tier::Host => table.step("host", || tiers::host::run(&target)),
            Tier::Vm => {
                for kernel in vm::KERNELS {
                    table.step(&format!("vm {}", kernel.name), || {
                        tiers::vm::run(&target, kernel)
                    });
                }
            }
            Tier::Cluster => table.step("cluster", || tiers::cluster::run(&target)),
        }
    }
    Ok(())
}
