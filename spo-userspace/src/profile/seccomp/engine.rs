//! The profiles of container engines: which rules count depends on the machine and on what the
//! container may do.

use std::collections::BTreeSet;

use super::{Action, Architecture, Flag, SeccompSpec, SyscallRule};
use crate::profile::arch::Arch;

/// A container engine's profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineProfile {
    /// What happens to calls without a rule.
    pub default_action: Action,
    /// The error number of [`EngineProfile::default_action`].
    pub default_errno_ret: Option<u32>,
    /// The architectures; only where there is no [`EngineProfile::arch_map`].
    pub architectures: Vec<Architecture>,
    /// The architectures by machine.
    pub arch_map: Vec<ArchMapEntry>,
    /// The socket of the process that [`Action::Notify`] asks.
    pub listener_path: Option<String>,
    /// What that process is told besides.
    pub listener_metadata: Option<String>,
    /// How to load the filter.
    pub flags: Vec<Flag>,
    /// The rules.
    pub syscalls: Vec<EngineRule>,
}

/// The architectures of one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchMapEntry {
    /// The machine's own.
    pub architecture: Architecture,
    /// Those whose programs it runs as well.
    pub sub_architectures: Vec<Architecture>,
}

/// A rule, and where it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRule {
    /// The rule.
    pub rule: SyscallRule,
    /// What the author said about it.
    pub comment: Option<String>,
    /// It counts only where all of this holds.
    pub includes: Conditions,
    /// It does not count where any of this holds.
    pub excludes: Conditions,
}

/// What a rule asks about the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Capabilities of the container, such as `CAP_SYS_ADMIN`.
    pub caps: Vec<String>,
    /// Machines, by the names that engines have for them, such as `amd64`.
    pub arches: Vec<String>,
    /// The kernel's version, or a newer one.
    pub min_kernel: Option<KernelVersion>,
}

/// The first two numbers of a kernel's version.
pub type KernelVersion = (u32, u32);

/// Where a profile is to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The machine's own architecture.
    pub arch: Arch,
    /// The container's capabilities (its bounding set), such as `CAP_SYS_ADMIN`.
    pub capabilities: BTreeSet<String>,
    /// The kernel's version.
    pub kernel: KernelVersion,
}

/// What the profile is on one machine.
///
/// `includes` holds if all of its capabilities are there and the machine is one of its `arches`;
/// `excludes` holds if any is there, as in Docker and Podman. A machine that is not in `archMap`
/// gets its own architecture only.
pub fn resolve(profile: &EngineProfile, machine: &Machine) -> SeccompSpec {
    let EngineProfile {
        default_action,
        default_errno_ret,
        architectures,
        arch_map,
        listener_path,
        listener_metadata,
        flags,
        syscalls,
    } = profile;
    let own = Architecture::from(machine.arch);
    let entry = arch_map.iter().find(|entry| entry.architecture == own);
    let mut all = architectures.clone();
    for architecture in entry.into_iter().flat_map(|entry| {
        [&entry.architecture]
            .into_iter()
            .chain(&entry.sub_architectures)
    }) {
        if !all.contains(architecture) {
            all.push(*architecture);
        }
    }
    let counts = |rule: &&EngineRule| {
        includes(&rule.includes, machine) && !excludes(&rule.excludes, machine)
    };
    SeccompSpec {
        default_errno_ret: *default_errno_ret,
        architectures: all,
        listener_path: listener_path.clone(),
        listener_metadata: listener_metadata.clone(),
        flags: flags.clone(),
        syscalls: syscalls
            .iter()
            .filter(counts)
            .map(|rule| rule.rule.clone())
            .collect(),
        ..SeccompSpec::new(*default_action)
    }
}

/// The engines' name of a machine, which is that of Go, but for `x86`.
pub(super) fn engine_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "amd64",
        Arch::X86 => "x86",
        Arch::X32 => "x32",
        Arch::Aarch64 => "arm64",
        Arch::Arm => "arm",
        Arch::Riscv64 => "riscv64",
        Arch::S390x => "s390x",
        Arch::Ppc64le => "ppc64le",
    }
}

fn includes(conditions: &Conditions, machine: &Machine) -> bool {
    let Conditions {
        caps,
        arches,
        min_kernel,
    } = conditions;
    caps.iter().all(|cap| machine.capabilities.contains(cap))
        && (arches.is_empty() || arches.iter().any(|arch| arch == engine_name(machine.arch)))
        && min_kernel.is_none_or(|version| machine.kernel >= version)
}

fn excludes(conditions: &Conditions, machine: &Machine) -> bool {
    let Conditions {
        caps,
        arches,
        min_kernel,
    } = conditions;
    caps.iter().any(|cap| machine.capabilities.contains(cap))
        || arches.iter().any(|arch| arch == engine_name(machine.arch))
        || min_kernel.is_some_and(|version| machine.kernel >= version)
}
