//! What a profile does to a call, by the program that libseccomp makes of it. This is the second
//! opinion beside the code under test: it shares nothing with it but `node::filter`, which hands
//! the rules to libseccomp, and the machine that runs programs.

use std::io::{self, Read as _};

use spo::event::{Instruction, KernelFilter};
use spo::node::filter;
use spo::profile::arch::Arch;
use spo::profile::seccomp::{self, Arguments, SeccompSpec, Seen, Verdict};
use spo::profile::syscalls;

/// The machine's own architecture.
pub(super) fn native() -> Arch {
    Arch::from_machine(std::env::consts::ARCH).unwrap()
}

/// A program for the kernel's classic BPF machine.
pub(super) struct Program(seccomp::Program);

/// What libseccomp makes of a profile; nothing if it refuses.
pub(super) fn instructions(spec: &SeccompSpec) -> Option<Vec<Instruction>> {
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
    Some(bytes.chunks(8).map(instruction).collect())
}

/// The same as a filter that is in force.
pub(super) fn in_force(spec: &SeccompSpec) -> Option<KernelFilter> {
    let program = instructions(spec)?;
    Some(KernelFilter {
        program,
        logs: false,
    })
}

impl Program {
    /// What libseccomp makes of a profile; nothing if it refuses.
    pub(super) fn of(spec: &SeccompSpec) -> Option<Self> {
        instructions(spec).map(|program| Self(seccomp::Program::new(program).unwrap()))
    }

    /// What the program answers to a call of the machine's own architecture.
    pub(super) fn verdict(&self, syscall: &str, args: &Arguments) -> Verdict {
        let number = syscalls::number(native(), syscall).unwrap();
        let audit = native().audit();
        seccomp::decode(self.0.run(&Seen {
            number,
            audit,
            args: *args,
        }))
    }
}
