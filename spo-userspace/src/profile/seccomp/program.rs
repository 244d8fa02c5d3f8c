//! Programs of seccomp filters, for the kernel's classic BPF machine, and what they answer.
//!
//! The instructions are those that `seccomp_check_filter` (`kernel/seccomp.c`) and `bpf_check_classic`
//! (`net/core/filter.c`) let in.

use thiserror::Error;

use super::Action;
use super::verdict::{Arguments, Verdict};
use crate::event::Instruction;

/// Places in the machine's memory (`BPF_MEMWORDS`).
pub(super) const MEMORY: usize = 16;
/// Words of `struct seccomp_data`.
const WORDS: usize = 16;
/// The word with the first half of the first argument.
pub(super) const FIRST_ARGUMENT: usize = 4;
/// The largest error number that the kernel answers with (`MAX_ERRNO`).
const MAX_ERRNO: u32 = 4095;

/// A call, as a filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number, with the x32 bit.
    pub number: u32,
    /// The kernel's number for its architecture.
    pub audit: u32,
    /// Its arguments.
    pub args: Arguments,
}

/// A program that the kernel would take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Program(pub(super) Vec<Instruction>);

/// The kernel would not take a program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("instruction {at} of the filter is none that seccomp has: {code:#x}")]
pub struct BadProgram {
    /// Which instruction.
    pub at: usize,
    /// What it says.
    pub code: u16,
}

/// The operations, by the names of `include/uapi/linux/bpf_common.h` and `filter.h`.
pub(super) mod op {
    pub(in crate::profile::seccomp) const LD_W_ABS: u16 = 0x20;
    pub(in crate::profile::seccomp) const LD_W_LEN: u16 = 0x80;
    pub(in crate::profile::seccomp) const LDX_W_LEN: u16 = 0x81;
    pub(in crate::profile::seccomp) const LD_IMM: u16 = 0x00;
    pub(in crate::profile::seccomp) const LDX_IMM: u16 = 0x01;
    pub(in crate::profile::seccomp) const LD_MEM: u16 = 0x60;
    pub(in crate::profile::seccomp) const LDX_MEM: u16 = 0x61;
    pub(in crate::profile::seccomp) const ST: u16 = 0x02;
    pub(in crate::profile::seccomp) const STX: u16 = 0x03;
    pub(in crate::profile::seccomp) const TAX: u16 = 0x07;
    pub(in crate::profile::seccomp) const TXA: u16 = 0x87;
    pub(in crate::profile::seccomp) const RET_K: u16 = 0x06;
    pub(in crate::profile::seccomp) const RET_A: u16 = 0x16;
    pub(in crate::profile::seccomp) const JA: u16 = 0x05;
    pub(in crate::profile::seccomp) const NEG: u16 = 0x84;
    /// The class of arithmetic, and of jumps with a test.
    pub(in crate::profile::seccomp) const ALU: u16 = 0x04;
    pub(in crate::profile::seccomp) const JMP: u16 = 0x05;
    /// The operand is the register X.
    pub(in crate::profile::seccomp) const X: u16 = 0x08;
}

impl Program {
    /// A program, if the kernel would take it.
    pub fn new(instructions: Vec<Instruction>) -> Result<Self, BadProgram> {
        let length = instructions.len();
        for (at, instruction) in instructions.iter().enumerate() {
            let Instruction {
                code,
                jump_true,
                jump_false,
                operand,
            } = *instruction;
            let value = operand as usize;
            let left = length - at - 1;
            let fits = match code {
                op::LD_W_ABS => value.is_multiple_of(4) && value < WORDS * 4,
                op::LD_MEM | op::LDX_MEM | op::ST | op::STX => value < MEMORY,
                op::LD_W_LEN
                | op::LDX_W_LEN
                | op::LD_IMM
                | op::LDX_IMM
                | op::TAX
                | op::TXA
                | op::NEG
                | op::RET_K
                | op::RET_A => true,
                op::JA => value < left,
                _ if code > 0xff => false,
                _ if code & 0x07 == op::JMP => {
                    matches!(code & 0xf0, 0x10 | 0x20 | 0x30 | 0x40)
                        && usize::from(jump_true.max(jump_false)) < left
                }
                _ if code & 0x07 == op::ALU => match code & 0xf8 {
                    // Division and shifts by a constant.
                    0x30 => operand != 0,
                    0x60 | 0x70 => operand < 32,
                    other => matches!(other & 0xf0, 0x00..=0x70 | 0xa0),
                },
                _ => false,
            };
            if !fits {
                return Err(BadProgram { at, code });
            }
        }
        match instructions.last() {
            Some(last) if [op::RET_K, op::RET_A].contains(&last.code) => Ok(Self(instructions)),
            last => Err(BadProgram {
                at: length.saturating_sub(1),
                code: last.map_or(0, |last| last.code),
            }),
        }
    }

    /// What it answers: `SECCOMP_RET_*`, with its data.
    pub fn run(&self, call: &Seen) -> u32 {
        let data = call.words();
        let (mut a, mut x, mut memory, mut at) = (0_u32, 0_u32, [0_u32; MEMORY], 0);
        while let Some(instruction) = self.0.get(at) {
            let Instruction {
                code,
                jump_true,
                jump_false,
                operand,
            } = *instruction;
            at += 1;
            let place = operand as usize;
            match code {
                op::LD_W_ABS => a = data.get(place / 4).copied().unwrap_or(0),
                op::LD_W_LEN => a = LENGTH,
                op::LDX_W_LEN => x = LENGTH,
                op::LD_IMM => a = operand,
                op::LDX_IMM => x = operand,
                op::LD_MEM => a = memory.get(place).copied().unwrap_or(0),
                op::LDX_MEM => x = memory.get(place).copied().unwrap_or(0),
                op::ST | op::STX => {
                    if let Some(word) = memory.get_mut(place) {
                        *word = if code == op::ST { a } else { x };
                    }
                }
                op::TAX => x = a,
                op::TXA => a = x,
                op::RET_K => return operand,
                op::RET_A => return a,
                op::JA => at += place,
                _ => {
                    let other = if code & op::X == 0 { operand } else { x };
                    if code & 0x07 == op::JMP {
                        let holds = test(code, a, other);
                        at += usize::from(if holds { jump_true } else { jump_false });
                    } else {
                        match compute(code, a, other) {
                            Some(result) => a = result,
                            // A division by zero ends the program.
                            None => return 0,
                        }
                    }
                }
            }
        }
        0
    }

    /// The constants that the number of a call may be compared with.
    pub(super) fn constants(&self) -> impl Iterator<Item = u32> {
        let tests = self
            .0
            .iter()
            .filter(|instruction| instruction.code & 0x07 == op::JMP && instruction.code != op::JA);
        tests.map(|instruction| instruction.operand)
    }
}

/// Bytes of `struct seccomp_data`.
pub(super) const LENGTH: u32 = 64;

impl Seen {
    /// `struct seccomp_data`: number, architecture, the instruction's address, and the arguments. The address is that of
    /// nobody.
    fn words(&self) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        words[0] = self.number;
        words[1] = self.audit;
        for (index, arg) in self.args.iter().enumerate() {
            let lower = u32::try_from(arg & u64::from(u32::MAX)).unwrap_or_default();
            let upper = u32::try_from(arg >> 32).unwrap_or_default();
            let [first, second] = if cfg!(target_endian = "little") {
                [lower, upper]
            } else {
                [upper, lower]
            };
            words[FIRST_ARGUMENT + 2 * index] = first;
            words[FIRST_ARGUMENT + 2 * index + 1] = second;
        }
        words
    }
}

/// What the kernel does with a call under several filters, from the newest: the most severe answer, and of equal ones the
/// newest's (`seccomp_run_filters`).
pub(super) fn answer<'p>(programs: impl IntoIterator<Item = &'p Program>, call: &Seen) -> Verdict {
    let mut answer = ALLOW;
    for program in programs {
        let other = program.run(call);
        if action_of(other) < action_of(answer) {
            answer = other;
        }
    }
    decode(answer)
}

/// `SECCOMP_RET_ALLOW`
const ALLOW: u32 = 0x7fff_0000;

/// `SECCOMP_RET_ACTION_FULL`, as the kernel compares it.
fn action_of(answer: u32) -> i32 {
    (answer & 0xffff_0000).cast_signed()
}

/// `SECCOMP_RET_*` of `include/uapi/linux/seccomp.h`. What the kernel does not know kills the process.
pub fn decode(answer: u32) -> Verdict {
    let data = answer & 0xffff;
    let (action, value) = match answer & 0xffff_0000 {
        0 => (Action::Kill, None),
        0x0003_0000 => (Action::Trap, None),
        0x0005_0000 => (Action::Errno, Some(data.min(MAX_ERRNO))),
        0x7fc0_0000 => (Action::Notify, None),
        0x7ff0_0000 => (Action::Trace, Some(data)),
        0x7ffc_0000 => (Action::Log, None),
        ALLOW => (Action::Allow, None),
        _ => (Action::KillProcess, None),
    };
    Verdict::new(action, value)
}

pub(super) fn test(code: u16, a: u32, other: u32) -> bool {
    match code & 0xf0 {
        0x10 => a == other,
        0x20 => a > other,
        0x30 => a >= other,
        _ => a & other != 0,
    }
}

pub(super) fn compute(code: u16, a: u32, other: u32) -> Option<u32> {
    Some(match code & 0xf0 {
        0x00 => a.wrapping_add(other),
        0x10 => a.wrapping_sub(other),
        0x20 => a.wrapping_mul(other),
        0x30 => return a.checked_div(other),
        0x40 => a | other,
        0x50 => a & other,
        0x60 => a.wrapping_shl(other),
        0x70 => a.wrapping_shr(other),
        0x80 => a.wrapping_neg(),
        _ => a ^ other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(code: u16, jump_true: u8, jump_false: u8, operand: u32) -> Instruction {
        Instruction {
            code,
            jump_true,
            jump_false,
            operand,
        }
    }

    fn program(instructions: &[(u16, u8, u8, u32)]) -> Program {
        let instructions = instructions.iter().copied();
        Program::new(
            instructions
                .map(|(code, yes, no, operand)| instruction(code, yes, no, operand))
                .collect(),
        )
        .unwrap()
    }

    fn call(number: u32, first: u64) -> Seen {
        Seen {
            number,
            audit: 7,
            args: [first, 0, 0, 0, 0, 0],
        }
    }

    /// What each instruction makes of registers, returned by the program itself.
    #[test]
    fn instructions() {
        let returned = |steps: &[(u16, u8, u8, u32)]| {
            let mut all = steps.to_vec();
            all.push((op::RET_A, 0, 0, 0));
            program(&all).run(&call(5, 0x1_0000_0002))
        };
        for (steps, expected) in [
            (vec![(op::LD_W_ABS, 0, 0, 0)], 5),
            (vec![(op::LD_W_ABS, 0, 0, 4)], 7),
            (vec![(op::LD_W_LEN, 0, 0, 0)], 64),
            (vec![(op::LDX_W_LEN, 0, 0, 0), (op::TXA, 0, 0, 0)], 64),
            (vec![(op::LD_IMM, 0, 0, 9)], 9),
            (
                vec![
                    (op::LD_IMM, 0, 0, 9),
                    (op::ST, 0, 0, 15),
                    (op::LD_IMM, 0, 0, 1),
                    (op::LDX_MEM, 0, 0, 15),
                    (op::TXA, 0, 0, 0),
                ],
                9,
            ),
            (
                vec![
                    (op::LDX_IMM, 0, 0, 8),
                    (op::STX, 0, 0, 3),
                    (op::LD_MEM, 0, 0, 3),
                ],
                8,
            ),
            (vec![(0x14, 0, 0, 1)], u32::MAX),
            (vec![(op::LD_IMM, 0, 0, 6), (0x24, 0, 0, 7)], 42),
            (vec![(op::LD_IMM, 0, 0, 7), (0x34, 0, 0, 2)], 3),
            // By zero in X: the program ends with 0.
            (vec![(op::LD_IMM, 0, 0, 7), (0x3c, 0, 0, 0)], 0),
            (vec![(op::LD_IMM, 0, 0, 5), (0x44, 0, 0, 2)], 7),
            (vec![(op::LD_IMM, 0, 0, 7), (0x54, 0, 0, 5)], 5),
            (vec![(op::LD_IMM, 0, 0, 7), (0xa4, 0, 0, 5)], 2),
            (vec![(op::LD_IMM, 0, 0, 1), (0x64, 0, 0, 31)], 1 << 31),
            (vec![(op::LD_IMM, 0, 0, 8), (0x74, 0, 0, 3)], 1),
            (vec![(op::LD_IMM, 0, 0, 1), (op::NEG, 0, 0, 0)], u32::MAX),
            (
                vec![(op::LD_IMM, 0, 0, 1), (op::TAX, 0, 0, 0), (0x0c, 0, 0, 0)],
                2,
            ),
            (vec![(op::JA, 0, 0, 1), (op::LD_IMM, 0, 0, 3)], 0),
            (vec![(0x45, 0, 1, 1), (op::LD_IMM, 0, 0, 3)], 0),
            (vec![(0x35, 0, 1, 0), (op::LD_IMM, 0, 0, 3)], 3),
            (vec![(0x25, 0, 1, 0), (op::LD_IMM, 0, 0, 3)], 0),
        ] {
            assert_eq!(returned(&steps), expected, "{steps:x?}");
        }
        let halves = [16, 20].map(|at| returned(&[(op::LD_W_ABS, 0, 0, at)]));
        let little = cfg!(target_endian = "little");
        assert_eq!(halves, if little { [2, 1] } else { [1, 2] });
    }

    #[test]
    fn what_the_kernel_does_not_take_is_refused() {
        let end = (op::RET_K, 0, 0, 0);
        for bad in [
            vec![],
            vec![(op::LD_IMM, 0, 0, 0)],
            vec![(op::LD_W_ABS, 0, 0, 64), end],
            vec![(op::LD_W_ABS, 0, 0, 2), end],
            vec![(op::ST, 0, 0, 16), end],
            vec![(op::JA, 0, 0, 1), end],
            vec![(0x15, 1, 0, 0), end],
            vec![(0x34, 0, 0, 0), end],
            vec![(0x64, 0, 0, 32), end],
            // Of a packet's bytes, and a remainder.
            vec![(0x30, 0, 0, 0), end],
            vec![(0x94, 0, 0, 1), end],
            vec![(0xffff, 0, 0, 0), end],
        ] {
            let instructions = bad.iter().copied();
            let made = Program::new(
                instructions
                    .map(|(code, yes, no, operand)| instruction(code, yes, no, operand))
                    .collect(),
            );
            assert!(made.is_err(), "{bad:x?}");
        }
    }

    #[test]
    fn of_several_answers_the_most_severe_counts_and_of_equals_the_newest() {
        let of = |answers: &[u32]| {
            let programs: Vec<_> = answers
                .iter()
                .map(|answer| program(&[(op::RET_K, 0, 0, *answer)]))
                .collect();
            answer(&programs, &call(0, 0)).to_string()
        };
        let errno = |number: u32| 0x0005_0000 | number;
        assert_eq!(of(&[]), "SCMP_ACT_ALLOW");
        assert_eq!(of(&[ALLOW, 0x7ffc_0000]), "SCMP_ACT_LOG");
        assert_eq!(of(&[errno(13), errno(2), ALLOW]), "SCMP_ACT_ERRNO (13)");
        assert_eq!(of(&[errno(13), 0x7ff0_0007]), "SCMP_ACT_ERRNO (13)");
        assert_eq!(of(&[0x7fc0_0000, 0x7ff0_0007]), "SCMP_ACT_NOTIFY");
        assert_eq!(of(&[0, 0x0003_0000]), "SCMP_ACT_KILL");
        assert_eq!(of(&[0, 0x8000_0000]), "SCMP_ACT_KILL_PROCESS");
        assert_eq!(of(&[0x7ffe_0000]), "SCMP_ACT_KILL_PROCESS");
    }
}
