//! By which values of its arguments programs tell a call apart: every way through a program is followed with the arguments
//! unknown, and each constant that half of one is compared with is a border.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::program::{FIRST_ARGUMENT, LENGTH, MEMORY, Program, compute, op, test};
use super::{Operator, SyscallArg};
use crate::event::Instruction;

/// Steps that are followed of one call's ways through a program.
const MOST_STEPS: usize = 1 << 18;

/// A program tells calls apart in a way that is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the filter computes with arguments in a way that is not followed")]
pub(super) struct Opaque;

/// What one word of a call's data is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Borders {
    /// The first values of the ranges that are told apart.
    pub(super) starts: BTreeSet<u32>,
    /// Masks, and what is compared under them.
    pub(super) masked: BTreeSet<(u32, u32)>,
}

/// The halves of arguments that count for a call: the lower and the upper one of each argument.
pub(super) type Halves = BTreeMap<(usize, bool), Borders>;

impl Program {
    /// Adds by what arguments the program tells calls of this number and architecture apart.
    pub(super) fn halves(
        &self,
        number: u32,
        audit: u32,
        halves: &mut Halves,
    ) -> Result<(), Opaque> {
        let mut open = vec![Way {
            at: 0,
            a: Value::Known(0),
            x: Value::Known(0),
            memory: [Value::Known(0); MEMORY],
        }];
        let mut steps = 0;
        while let Some(mut way) = open.pop() {
            while let Some(instruction) = self.0.get(way.at).copied() {
                steps += 1;
                if steps > MOST_STEPS {
                    return Err(Opaque);
                }
                way.at += 1;
                match way.step(instruction, number, audit, halves)? {
                    Step::On => {}
                    Step::End => break,
                    Step::Fork(other) => open.push(Way { at: other, ..way }),
                }
            }
        }
        Ok(())
    }
}

/// What is known of a register while the arguments are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Known(u32),
    /// Half of an argument, the upper one or not, under a mask.
    Half(usize, bool, u32),
}

/// A way through a program.
#[derive(Clone, Copy)]
struct Way {
    at: usize,
    a: Value,
    x: Value,
    memory: [Value; MEMORY],
}

enum Step {
    On,
    End,
    /// The other way, which begins there.
    Fork(usize),
}

impl Way {
    fn step(
        &mut self,
        instruction: Instruction,
        number: u32,
        audit: u32,
        halves: &mut Halves,
    ) -> Result<Step, Opaque> {
        let Instruction {
            code,
            jump_true,
            jump_false,
            operand,
        } = instruction;
        let place = operand as usize;
        let in_memory = |memory: &[Value; MEMORY]| memory.get(place).copied().ok_or(Opaque);
        match code {
            op::LD_W_ABS => {
                self.a = match place / 4 {
                    0 => Value::Known(number),
                    1 => Value::Known(audit),
                    word if word >= FIRST_ARGUMENT => {
                        let is_second = (word - FIRST_ARGUMENT) % 2 == 1;
                        let is_upper = is_second == cfg!(target_endian = "little");
                        Value::Half((word - FIRST_ARGUMENT) / 2, is_upper, u32::MAX)
                    }
                    // Where the call was made from.
                    _ => return Err(Opaque),
                };
            }
            op::LD_W_LEN => self.a = Value::Known(LENGTH),
            op::LDX_W_LEN => self.x = Value::Known(LENGTH),
            op::LD_IMM => self.a = Value::Known(operand),
            op::LDX_IMM => self.x = Value::Known(operand),
            op::LD_MEM => self.a = in_memory(&self.memory)?,
            op::LDX_MEM => self.x = in_memory(&self.memory)?,
            op::ST | op::STX => {
                let value = if code == op::ST { self.a } else { self.x };
                *self.memory.get_mut(place).ok_or(Opaque)? = value;
            }
            op::TAX => self.x = self.a,
            op::TXA => self.a = self.x,
            op::RET_K => return Ok(Step::End),
            op::RET_A => {
                return match self.a {
                    Value::Known(_) => Ok(Step::End),
                    Value::Half(..) => Err(Opaque),
                };
            }
            op::JA => self.at += place,
            _ => {
                let other = if code & op::X == 0 {
                    Value::Known(operand)
                } else {
                    self.x
                };
                let is_jump = code & 0x07 == op::JMP;
                match (self.a, other) {
                    (Value::Known(a), Value::Known(other)) if is_jump => {
                        let holds = test(code, a, other);
                        self.at += usize::from(if holds { jump_true } else { jump_false });
                    }
                    (Value::Known(a), Value::Known(other)) => match compute(code, a, other) {
                        Some(result) => self.a = Value::Known(result),
                        None => return Ok(Step::End),
                    },
                    (Value::Half(arg, upper, mask), Value::Known(constant)) if is_jump => {
                        let borders = halves.entry((arg, upper)).or_default();
                        borders.add(code, mask, constant);
                        let from = self.at;
                        self.at = from + usize::from(jump_true);
                        return Ok(Step::Fork(from + usize::from(jump_false)));
                    }
                    (Value::Half(arg, upper, mask), Value::Known(constant))
                        if code & 0xf0 == 0x50 =>
                    {
                        self.a = Value::Half(arg, upper, mask & constant);
                    }
                    _ => return Err(Opaque),
                }
            }
        }
        Ok(Step::On)
    }
}

impl Borders {
    /// Notes that a half is compared under a mask.
    fn add(&mut self, code: u16, mask: u32, constant: u32) {
        match code & 0xf0 {
            // JSET: whether any of these bits is set.
            0x40 => drop(self.masked.insert((mask & constant, 0))),
            _ if mask != u32::MAX => drop(self.masked.insert((mask, constant & mask))),
            0x10 => self.equal(constant),
            0x20 => self.starts.extend(constant.checked_add(1)),
            _ => drop(self.starts.insert(constant)),
        }
    }

    /// Notes that a value is told from all others.
    pub(super) fn equal(&mut self, value: u32) {
        self.starts.insert(value);
        self.starts.extend(value.checked_add(1));
    }
}

/// Adds where a condition of a profile draws borders.
pub(super) fn add_borders(condition: &SyscallArg, halves: &mut Halves) {
    let SyscallArg {
        index,
        value,
        value_two,
        op,
    } = *condition;
    let index = index as usize;
    let half = |value: u64, is_upper: bool| {
        let half = if is_upper { value >> 32 } else { value };
        u32::try_from(half & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    };
    for is_upper in [false, true] {
        let borders = halves.entry((index, is_upper)).or_default();
        if op == Operator::MaskedEqual {
            let (mask, bits) = (half(value, is_upper), half(value_two & value, is_upper));
            borders.masked.insert((mask, bits));
        } else {
            // Before, at, and behind the value.
            borders.equal(half(value, is_upper));
        }
    }
}

/// A value of a half from each side of each border.
pub(super) fn values(borders: &Borders) -> Vec<u32> {
    let Borders { starts, masked } = borders;
    let mut values: BTreeSet<u32> = starts.clone();
    values.insert(0);
    for (mask, bits) in masked {
        values.extend([*bits, bits | !mask]);
        let ones = (0..32).map(|place| 1_u32 << place);
        values.extend(ones.filter(|one| mask & one != 0).map(|one| bits ^ one));
        for (other_mask, other) in masked {
            values.insert(bits | (other & other_mask & !mask));
        }
    }
    values.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_those_of_the_call_and_no_others() {
        let steps = [
            (op::LD_W_ABS, 0, 0, 0),
            (0x15, 0, 3, 5),
            (op::LD_W_ABS, 0, 0, 16),
            (0x54, 0, 0, 6),
            (0x15, 1, 0, 2),
            (op::RET_K, 0, 0, 0x7fff_0000),
            (op::RET_K, 0, 0, 0),
        ];
        let step = |(code, jump_true, jump_false, operand)| Instruction {
            code,
            jump_true,
            jump_false,
            operand,
        };
        let program = Program::new(steps.map(step).to_vec()).unwrap();
        let mut halves = Halves::new();
        program.halves(4, 7, &mut halves).unwrap();
        assert!(halves.is_empty());
        program.halves(5, 7, &mut halves).unwrap();
        let upper = cfg!(target_endian = "big");
        assert_eq!(
            halves[&(0, upper)].masked,
            BTreeSet::from([(6, 2)]),
            "{halves:?}"
        );
    }
}
