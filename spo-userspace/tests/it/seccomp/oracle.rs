//! What a profile does to a call, by the program that libseccomp makes of it. This is the second
//! opinion beside the code under test: it shares nothing with it but `node::filter`, which hands
//! the rules to libseccomp.

use std::io::{self, Read as _};

use spo::node::filter;
use spo::profile::arch::Arch;
use spo::profile::seccomp::{Action, Arguments, SeccompSpec, Verdict};
use spo::profile::syscalls;

/// The machine's own architecture, and the kernel's number for it (`include/uapi/linux/audit.h`).
#[cfg(target_arch = "x86_64")]
const NATIVE: (Arch, u32) = (Arch::X86_64, 0xc000_003e);
#[cfg(target_arch = "aarch64")]
const NATIVE: (Arch, u32) = (Arch::Aarch64, 0xc000_00b7);
#[cfg(target_arch = "riscv64")]
const NATIVE: (Arch, u32) = (Arch::Riscv64, 0xc000_00f3);
#[cfg(target_arch = "s390x")]
const NATIVE: (Arch, u32) = (Arch::S390x, 0x8000_0016);
#[cfg(target_arch = "powerpc64")]
const NATIVE: (Arch, u32) = (Arch::Ppc64le, 0xc000_0015);

/// A program for the kernel's classic BPF machine.
pub(super) struct Program(Vec<Instruction>);

#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    operand: u32,
}

impl Program {
    /// What libseccomp makes of a profile; nothing if it refuses.
    pub(super) fn of(spec: &SeccompSpec) -> Option<Self> {
        let (filter, _) = filter::build(spec).ok()?;
        let (mut reader, writer) = io::pipe().unwrap();
        let mut bytes = Vec::new();
        // A pipe takes 8192 instructions, the kernel 4096.
        filter.write_program(&writer).unwrap();
        drop(writer);
        reader.read_to_end(&mut bytes).unwrap();
        let instruction = |bytes: &[u8]| Instruction {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jump_true: bytes[2],
            jump_false: bytes[3],
            operand: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        Some(Self(bytes.chunks(8).map(instruction).collect()))
    }

    /// What the program answers to a call of the machine's own architecture.
    pub(super) fn verdict(&self, syscall: &str, args: &Arguments) -> Verdict {
        let (arch, audit) = NATIVE;
        let number = syscalls::number(arch, syscall).unwrap();
        decode(self.run(number, audit, args))
    }

    /// `struct seccomp_data` has the number, the architecture, the instruction's address, and the
    /// arguments.
    fn run(&self, number: u32, audit: u32, args: &Arguments) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_ne_bytes());
        data.extend(audit.to_ne_bytes());
        data.extend(0_u64.to_ne_bytes());
        data.extend(args.iter().flat_map(|arg| arg.to_ne_bytes()));
        let (mut accumulator, mut at) = (0_u32, 0);
        loop {
            let Instruction {
                code,
                jump_true,
                jump_false,
                operand,
            } = self.0[at];
            at += 1;
            let test = match code {
                // BPF_LD | BPF_W | BPF_ABS
                0x20 => {
                    let from = operand as usize;
                    accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
                    continue;
                }
                // BPF_ALU | BPF_AND | BPF_K
                0x54 => {
                    accumulator &= operand;
                    continue;
                }
                // BPF_JMP | BPF_JA
                0x05 => {
                    at += operand as usize;
                    continue;
                }
                // BPF_RET | BPF_K
                0x06 => return operand,
                // BPF_JMP | BPF_K with JEQ, JGT, JGE, JSET
                0x15 => accumulator == operand,
                0x25 => accumulator > operand,
                0x35 => accumulator >= operand,
                0x45 => accumulator & operand != 0,
                code => panic!("libseccomp made the instruction {code:#x}"),
            };
            at += usize::from(if test { jump_true } else { jump_false });
        }
    }
}

/// `SECCOMP_RET_*` of `include/uapi/linux/seccomp.h`.
fn decode(answer: u32) -> Verdict {
    let value = Some(answer & 0xffff);
    let (action, value) = match answer & 0xffff_0000 {
        0x8000_0000 => (Action::KillProcess, None),
        0 => (Action::Kill, None),
        0x0003_0000 => (Action::Trap, None),
        0x0005_0000 => (Action::Errno, value),
        0x7ff0_0000 => (Action::Trace, value),
        0x7ffc_0000 => (Action::Log, None),
        0x7fff_0000 => (Action::Allow, None),
        answer => panic!("libseccomp answers {answer:#x}"),
    };
    Verdict::new(action, value)
}
