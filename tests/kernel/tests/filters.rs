//! What the kernel tells of seccomp filters: which tasks have which, and what is in them.
#![cfg(target_arch = "x86_64")]

#[path = "filters/containers.rs"]
mod containers;
#[path = "containers/node.rs"]
#[expect(dead_code, reason = "shared with the tests of the recorder")]
mod node;
#[path = "containers/oci.rs"]
#[expect(dead_code, reason = "shared with the tests of the recorder")]
mod oci;
#[path = "filters/processes.rs"]
mod processes;

use spo::bpf::filters::{Chain, Filters};
use spo::bpf::kernel::Kernel;
use spo::event::{FilteredTask, KernelFilter};
use spo::profile::arch::Arch;
use spo::profile::seccomp::{
    Action, Architecture, Comparison, InForce, SeccompSpec, SyscallRule, compare,
};

/// The programs, loaded.
fn filters() -> Filters {
    let kernel = Kernel::probe().expect("the kernel tells its types");
    Filters::load(&kernel).expect("the programs load")
}

/// The threads of a process.
fn threads(filters: &mut Filters, tgid: u32) -> Vec<FilteredTask> {
    let mut tasks = filters.tasks().expect("the kernel tells its tasks");
    tasks.retain(|task| task.tgid == tgid);
    tasks
}

/// The filters of a process, whose threads all have the same.
fn chain(filters: &mut Filters, tgid: u32) -> Chain {
    let threads = threads(filters, tgid);
    assert!(!threads.is_empty(), "no thread of {tgid}");
    for thread in &threads {
        assert_eq!(thread.chain, threads[0].chain, "{threads:?}");
    }
    let mut chains = filters
        .chains(&threads[..1])
        .expect("the kernel tells filters");
    chains.remove(0)
}

fn compared(spec: &SeccompSpec, filters: &[KernelFilter]) -> Comparison {
    let in_force = InForce::new(filters).expect("the kernel took the programs");
    compare(spec, &in_force, Arch::X86_64)
}

/// What is told of a profile beside filters.
fn told(spec: &SeccompSpec, filters: &[KernelFilter]) -> Vec<String> {
    let comparison = compared(spec, filters);
    assert!(
        comparison.opaque.is_empty() && comparison.newer.is_empty(),
        "{comparison:?}"
    );
    let differences = comparison.differences.iter();
    differences.map(ToString::to_string).collect()
}

/// A profile for all ABIs of this machine that denies some calls.
fn denying(names: &[&str]) -> SeccompSpec {
    let mut spec = SeccompSpec::new(Action::Allow);
    spec.architectures = vec![Architecture::X86_64, Architecture::X86, Architecture::X32];
    spec.syscalls = vec![SyscallRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: Action::Errno,
        errno_ret: None,
        args: Vec::new(),
    }];
    spec
}
