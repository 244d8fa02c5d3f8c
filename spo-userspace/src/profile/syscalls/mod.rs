//! The names and numbers of system calls on every architecture that we know.
//!
//! The tables are generated from the kernel's own headers, which each of them cites.

mod aarch64;
mod arm;
mod ppc64le;
mod riscv64;
mod s390x;
mod x32;
mod x86;
mod x86_64;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::arch::Arch;
use super::suggest::nearest;

/// The name of a call. x32 numbers are without their bit `0x4000_0000`.
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    let calls = calls(arch);
    let index = calls
        .binary_search_by_key(&number, |(number, _)| *number)
        .ok()?;
    Some(calls[index].1)
}

/// The number of a call. x32 numbers are without their bit `0x4000_0000`.
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    NUMBERS.get(name)?[arch as usize]
}

/// Whether any architecture has a call of this name.
pub fn known(name: &str) -> bool {
    NUMBERS.contains_key(name)
}

/// The name that an unknown one most likely stands for.
pub fn suggest(name: &str) -> Option<&'static str> {
    nearest(name, NAMES.iter().copied())
}

/// All calls of an architecture, by number.
pub fn calls(arch: Arch) -> &'static [(u32, &'static str)] {
    match arch {
        Arch::X86_64 => x86_64::CALLS,
        Arch::X86 => x86::CALLS,
        Arch::X32 => x32::CALLS,
        Arch::Aarch64 => aarch64::CALLS,
        Arch::Arm => arm::CALLS,
        Arch::Riscv64 => riscv64::CALLS,
        Arch::S390x => s390x::CALLS,
        Arch::Ppc64le => ppc64le::CALLS,
    }
}

/// Second names of calls: the alias and the name in the table.
fn aliases(arch: Arch) -> &'static [(&'static str, &'static str)] {
    match arch {
        Arch::X86_64 => x86_64::ALIASES,
        Arch::X86 => x86::ALIASES,
        Arch::X32 => x32::ALIASES,
        Arch::Aarch64 => aarch64::ALIASES,
        Arch::Arm => arm::ALIASES,
        Arch::Riscv64 => riscv64::ALIASES,
        Arch::S390x => s390x::ALIASES,
        Arch::Ppc64le => ppc64le::ALIASES,
    }
}

/// A call's numbers, by the position of the architecture in [`Arch::ALL`].
type Numbers = [Option<u32>; Arch::ALL.len()];

static NUMBERS: LazyLock<HashMap<&'static str, Numbers>> = LazyLock::new(|| {
    let mut numbers: HashMap<_, Numbers> = HashMap::new();
    for arch in Arch::ALL {
        for (number, name) in calls(arch) {
            numbers.entry(*name).or_default()[arch as usize] = Some(*number);
        }
        for (alias, name) in aliases(arch) {
            let number = numbers[name][arch as usize];
            numbers.entry(*alias).or_default()[arch as usize] = number;
        }
    }
    numbers
});

/// All names, in an order that makes suggestions the same each time.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut names: Vec<_> = NUMBERS.keys().copied().collect();
    names.sort_unstable();
    names
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_unique() {
        for (index, arch) in Arch::ALL.into_iter().enumerate() {
            assert_eq!(arch as usize, index);
            assert!(
                calls(arch).is_sorted_by(|left, right| left.0 < right.0),
                "{arch}"
            );
            let mut names: Vec<_> = calls(arch).iter().map(|(_, name)| name).collect();
            names.sort_unstable();
            assert!(names.is_sorted_by(|left, right| left < right), "{arch}");
        }
    }

    #[test]
    fn names_and_numbers_lead_to_each_other() {
        for arch in Arch::ALL {
            for (number_, name_) in calls(arch) {
                assert_eq!(name(arch, *number_), Some(*name_));
                assert_eq!(number(arch, name_), Some(*number_));
                assert!(known(name_));
            }
        }
    }

    /// Values that were looked up by hand in the kernel's tables.
    #[test]
    fn anchors() {
        for (arch, number_, name_) in [
            (Arch::X86_64, 0, "read"),
            (Arch::X86_64, 59, "execve"),
            (Arch::X86_64, 257, "openat"),
            (Arch::X86_64, 334, "rseq"),
            (Arch::X86_64, 435, "clone3"),
            (Arch::X86, 0, "restart_syscall"),
            (Arch::X86, 102, "socketcall"),
            (Arch::X86, 403, "clock_gettime64"),
            (Arch::X32, 0, "read"),
            (Arch::X32, 520, "execve"),
            (Arch::X32, 547, "pwritev2"),
            (Arch::Aarch64, 56, "openat"),
            (Arch::Aarch64, 79, "newfstatat"),
            (Arch::Aarch64, 221, "execve"),
            (Arch::Arm, 5, "open"),
            (Arch::Arm, 341, "arm_sync_file_range"),
            (Arch::Arm, 0xf_0002, "cacheflush"),
            (Arch::Arm, 0xf_0005, "set_tls"),
            (Arch::Riscv64, 56, "openat"),
            (Arch::Riscv64, 259, "riscv_flush_icache"),
            (Arch::S390x, 288, "openat"),
            (Arch::S390x, 378, "s390_guarded_storage"),
            (Arch::Ppc64le, 286, "openat"),
            (Arch::Ppc64le, 363, "switch_endian"),
        ] {
            assert_eq!(name(arch, number_), Some(name_), "{arch} {number_}");
        }
        assert_eq!(number(Arch::Arm, "sync_file_range2"), Some(341));
        assert_eq!(number(Arch::X86_64, "sync_file_range2"), None);
        assert_eq!(number(Arch::X86_64, "socketcall"), None);
        assert_eq!(name(Arch::X86_64, 9999), None);
        assert_eq!(name(Arch::X86_64, u32::MAX), None);
        assert_eq!(name(Arch::X32, 59), None);
        assert!(known("socketcall") && known("sync_file_range2"));
        assert!(!known("opennat") && !known(""));
    }

    /// Since Linux 5.1 new calls have one number everywhere, so that a hole is a lost call. Only
    /// `memfd_secret` was never given to these two.
    #[test]
    fn shared_numbers_have_no_holes() {
        let newest = calls(Arch::X86_64).last().unwrap().0;
        assert!(newest >= 471);
        let holes: Vec<_> = Arch::ALL
            .into_iter()
            .flat_map(|arch| (424..=newest).map(move |number| (arch, number)))
            .filter(|(arch, number)| name(*arch, *number).is_none())
            .collect();
        assert_eq!(holes, [(Arch::Arm, 447), (Arch::Ppc64le, 447)]);
    }

    /// Below 424 the oldest tables are whole but for numbers that the kernel never used there.
    #[test]
    fn old_numbers_have_no_holes() {
        let holes = |arch, numbers: std::ops::RangeInclusive<u32>| -> Vec<u32> {
            numbers
                .filter(|number| name(arch, *number).is_none())
                .collect()
        };
        assert_eq!(holes(Arch::X86_64, 0..=334), Vec::<u32>::new());
        assert_eq!(holes(Arch::X86, 0..=386), [222, 223, 251, 285]);
        assert_eq!(
            holes(Arch::Aarch64, 0..=291),
            (244..=259).collect::<Vec<_>>()
        );
        assert_eq!(holes(Arch::X32, 512..=547), Vec::<u32>::new());
    }

    /// The kernel takes no old number back, so that a smaller count is a loss as well.
    #[test]
    fn old_calls_are_all_there() {
        let counts = Arch::ALL.map(|arch| {
            calls(arch)
                .iter()
                .filter(|(number, _)| *number < 424)
                .count()
        });
        assert_eq!(counts, [337, 413, 290, 279, 377, 280, 342, 377]);
    }

    #[test]
    fn suggestions() {
        assert_eq!(suggest("opennat"), Some("openat"));
        assert_eq!(suggest("OPENAT"), Some("openat"));
        assert_eq!(suggest("rt_sigreutrn"), Some("rt_sigreturn"));
        assert_eq!(suggest("no_such_call_at_all"), None);
    }
}
