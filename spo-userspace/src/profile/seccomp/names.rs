//! The words of seccomp profiles: enumerations that are written as text.

use crate::profile::named::named;

named! {
    /// What happens to a call.
    Action, "an action" {
        /// Kills the thread; an older name of [`Action::KillThread`].
        Kill = "SCMP_ACT_KILL",
        /// Kills the process.
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        /// Kills the thread.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// Sends SIGSYS to the thread.
        Trap = "SCMP_ACT_TRAP",
        /// Makes the call fail.
        Errno = "SCMP_ACT_ERRNO",
        /// Asks the tracer.
        Trace = "SCMP_ACT_TRACE",
        /// Lets the call through.
        Allow = "SCMP_ACT_ALLOW",
        /// Lets the call through and notes it in the audit log.
        Log = "SCMP_ACT_LOG",
        /// Asks a listening process.
        Notify = "SCMP_ACT_NOTIFY",
    }
}

named! {
    /// An architecture as profiles name it. Profiles know more than we have tables for.
    Architecture, "an architecture" {
        /// Whatever the machine is.
        Native = "SCMP_ARCH_NATIVE",
        /// i386.
        X86 = "SCMP_ARCH_X86",
        /// `x86_64`.
        X86_64 = "SCMP_ARCH_X86_64",
        /// x32.
        X32 = "SCMP_ARCH_X32",
        /// 32-bit arm.
        Arm = "SCMP_ARCH_ARM",
        /// 64-bit arm.
        Aarch64 = "SCMP_ARCH_AARCH64",
        /// MIPS.
        Mips = "SCMP_ARCH_MIPS",
        /// MIPS, 64-bit.
        Mips64 = "SCMP_ARCH_MIPS64",
        /// MIPS, 64-bit with 32-bit pointers.
        Mips64n32 = "SCMP_ARCH_MIPS64N32",
        /// MIPS, little-endian.
        Mipsel = "SCMP_ARCH_MIPSEL",
        /// MIPS, 64-bit, little-endian.
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        /// MIPS, 64-bit with 32-bit pointers, little-endian.
        Mipsel64n32 = "SCMP_ARCH_MIPSEL64N32",
        /// PowerPC.
        Ppc = "SCMP_ARCH_PPC",
        /// PowerPC, 64-bit.
        Ppc64 = "SCMP_ARCH_PPC64",
        /// PowerPC, 64-bit, little-endian.
        Ppc64le = "SCMP_ARCH_PPC64LE",
        /// S390.
        S390 = "SCMP_ARCH_S390",
        /// S390, 64-bit.
        S390x = "SCMP_ARCH_S390X",
        /// PA-RISC.
        Parisc = "SCMP_ARCH_PARISC",
        /// PA-RISC, 64-bit.
        Parisc64 = "SCMP_ARCH_PARISC64",
        /// RISC-V, 64-bit.
        Riscv64 = "SCMP_ARCH_RISCV64",
    }
}

named! {
    /// A flag for loading the filter.
    Flag, "a flag" {
        /// Applies the filter to all threads.
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// Logs what the filter does, but for allowing.
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// Leaves speculative execution as it is.
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// While a listener decides, only deadly signals interrupt the call.
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
}

named! {
    /// How an argument is compared, as an unsigned number of 64 bits.
    Operator, "an operator" {
        /// Not equal.
        NotEqual = "SCMP_CMP_NE",
        /// Less.
        Less = "SCMP_CMP_LT",
        /// Less or equal.
        LessOrEqual = "SCMP_CMP_LE",
        /// Equal.
        Equal = "SCMP_CMP_EQ",
        /// Greater or equal.
        GreaterOrEqual = "SCMP_CMP_GE",
        /// Greater.
        Greater = "SCMP_CMP_GT",
        /// Equal to the second value in the bits of the first.
        MaskedEqual = "SCMP_CMP_MASKED_EQ",
    }
}
