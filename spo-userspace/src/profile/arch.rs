//! Architectures, or rather ABIs: each has system call numbers of its own.

use std::fmt;

/// An ABI whose system call table is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, also as compat mode of [`Arch::X86_64`].
    X86,
    /// 32-bit pointers in 64-bit mode of x86.
    X32,
    /// 64-bit arm.
    Aarch64,
    /// 32-bit arm (EABI), also as compat mode of [`Arch::Aarch64`].
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit z/Architecture.
    S390x,
    /// 64-bit POWER, little-endian.
    Ppc64le,
}

impl Arch {
    /// Every architecture, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::X86_64,
        Self::X86,
        Self::X32,
        Self::Aarch64,
        Self::Arm,
        Self::Riscv64,
        Self::S390x,
        Self::Ppc64le,
    ];

    /// The kernel's number for it (`AUDIT_ARCH_*`, `include/uapi/linux/audit.h`). Calls of x32 are
    /// told apart by their own numbers.
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
            Self::Riscv64 => 0xc000_00f3,
            Self::S390x => 0x8000_0016,
            Self::Ppc64le => 0xc000_0015,
        }
    }

    /// The architecture's name in seccomp profiles.
    pub fn scmp(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
            Self::Riscv64 => "SCMP_ARCH_RISCV64",
            Self::S390x => "SCMP_ARCH_S390X",
            Self::Ppc64le => "SCMP_ARCH_PPC64LE",
        }
    }

    /// The architecture of a name in a seccomp profile. Profiles know more architectures than
    /// we have tables for.
    pub fn from_scmp(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.scmp() == name)
    }

    /// The architecture of a machine by the name that the kernel gives it (`uname -m`).
    pub fn from_machine(machine: &str) -> Option<Self> {
        match machine {
            "x86_64" => Some(Self::X86_64),
            "i386" | "i486" | "i586" | "i686" => Some(Self::X86),
            "aarch64" | "arm64" => Some(Self::Aarch64),
            "riscv64" => Some(Self::Riscv64),
            "s390x" => Some(Self::S390x),
            "ppc64le" => Some(Self::Ppc64le),
            // armv6l, armv7l, armv8l; the names of big-endian kernels end with a `b`.
            _ if machine.starts_with("armv") && machine.ends_with('l') => Some(Self::Arm),
            _ => None,
        }
    }

    /// The 32-bit architecture whose programs a kernel of this one may run as well.
    pub fn compat(self) -> Option<Self> {
        match self {
            Self::X86_64 => Some(Self::X86),
            Self::Aarch64 => Some(Self::Arm),
            _ => None,
        }
    }

    /// The ABI with 32-bit pointers whose calls share this one's entry point.
    pub fn x32(self) -> Option<Self> {
        match self {
            Self::X86_64 => Some(Self::X32),
            _ => None,
        }
    }

    /// The architecture's name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
            Self::Riscv64 => "riscv64",
            Self::S390x => "s390x",
            Self::Ppc64le => "ppc64le",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for arch in Arch::ALL {
            assert_eq!(Arch::from_scmp(arch.scmp()), Some(arch));
        }
        assert_eq!(Arch::from_scmp("SCMP_ARCH_NATIVE"), None);
        assert_eq!(Arch::from_scmp("x86_64"), None);
    }

    #[test]
    fn machines() {
        for (machine, arch) in [
            ("x86_64", Some(Arch::X86_64)),
            ("i686", Some(Arch::X86)),
            ("aarch64", Some(Arch::Aarch64)),
            ("aarch64_be", None),
            ("armv7l", Some(Arch::Arm)),
            ("armv7b", None),
            ("ppc64", None),
            ("", None),
        ] {
            assert_eq!(Arch::from_machine(machine), arch, "{machine}");
        }
    }

    #[test]
    fn companions() {
        assert_eq!(Arch::X86_64.compat(), Some(Arch::X86));
        assert_eq!(Arch::X86_64.x32(), Some(Arch::X32));
        assert_eq!(Arch::Aarch64.compat(), Some(Arch::Arm));
        assert_eq!(Arch::Aarch64.x32(), None);
        assert_eq!(Arch::X86.compat(), None);
        assert_eq!(format!("{:>8}", Arch::X32), "     x32");
    }
}
