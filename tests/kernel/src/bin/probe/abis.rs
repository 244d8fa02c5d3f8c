//! Calls by the three ABIs of an x86 kernel, from one 64-bit program.

use std::arch::asm;

use spo_kernel_tests::probe;

use super::calls;

/// An x32 number.
fn x32(number: libc::c_long) -> libc::c_long {
    const X32: libc::c_long = 0x4000_0000;
    number | X32
}

/// Calls with numbers that mean another call in each table, and numbers that mean none. The native calls are the named ones; the
/// last of them is made with bits set in the high half of the register, which the kernel does not look at.
pub(crate) fn run(names: &[&str]) {
    let (last, first) = names.split_last().expect("names");
    for round in 0..3 {
        for name in first {
            calls::rare(name);
        }
        calls::number(probe::number(last) | (1 << 32));
        // oldstat, oldolduname, socketcall, ipc, ugetrlimit, clock_getres_time64
        for number in [18, 59, 102, 117, 191, 406] {
            compat(number);
        }
        // sched_get_priority_min, move_pages
        for number in [147, 533] {
            calls::number(x32(number));
        }
        calls::number(9999);
        if round > 0 {
            calls::number(-1);
            compat(7777);
            calls::number(x32(8888));
        }
    }
    compat(-1);
}

/// Numbers as they are, natively.
pub(crate) fn numbers(numbers: &[&str]) {
    for number in numbers {
        calls::number(number.parse().expect("a number"));
    }
}

/// A call by the 32-bit entry of the kernel, with -1 for the arguments.
fn compat(number: i32) {
    let mut result = number;
    #[expect(unsafe_code, reason = "there is no other way into the 32-bit entry")]
    // SAFETY: none of the calls that are made touches memory, given these arguments; the kernel may
    // lose the registers that 32-bit programs do not have.
    unsafe {
        asm!(
            "push rbx",
            "mov ebx, -1",
            "int 0x80",
            "pop rbx",
            inout("eax") result,
            in("ecx") -1,
            in("edx") -1,
            in("esi") -1,
            in("edi") -1,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    assert!(result < 0, "call {number} succeeded: {result}");
}
