//! Which call of which ABI.

use spo_common::subject::{Abi, NUMBERS};

use crate::kernel::{Access, Task};
use crate::layout;

/// A system call.
#[derive(Clone, Copy)]
pub struct Syscall {
    /// The ABI, as an index.
    pub abi: u32,
    /// The number within the ABI; anything at all if the caller passed nonsense.
    pub number: i32,
}

impl Syscall {
    /// The call with this number that the task is in.
    #[inline(always)]
    pub fn of<A: Access>(task: Task<A>, number: i32) -> Self {
        if task.in_compat_call() {
            return Self {
                abi: Abi::Compat as u32,
                number,
            };
        }
        // A negative number has the bit too, and is no x32 call.
        if number >= 0 && number as u32 & layout!(x32_bit) != 0 {
            return Self {
                abi: Abi::X32 as u32,
                number: (number as u32 & !layout!(x32_bit)) as i32,
            };
        }
        Self {
            abi: Abi::Native as u32,
            number,
        }
    }

    /// Where the call stands in a set, if it has a place there.
    #[inline(always)]
    pub fn index(self) -> Option<usize> {
        if self.number as u32 >= NUMBERS {
            return None;
        }
        Some((self.abi * NUMBERS) as usize + masked(self.number as u64))
    }

    /// Whether this is a native call with this number.
    #[inline(always)]
    pub fn is_native(self, number: u32) -> bool {
        self.abi == Abi::Native as u32 && self.number as u32 == number
    }
}

/// The low bits, by an instruction that the compiler cannot see to be redundant, but whose result the verifier
/// knows to be within bounds.
#[inline(always)]
fn masked(number: u64) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = number;
        // SAFETY: arithmetic on a register.
        unsafe {
            core::arch::asm!(
                "{number} &= {mask}",
                number = inout(reg) number,
                mask = const NUMBERS - 1,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        number as usize
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        (number % u64::from(NUMBERS)) as usize
    }
}
