//! What the eBPF programs share: maps, globals, reading of kernel structures, records. No programs.
//!
//! Nothing here depends on a kernel version: offsets come from the running kernel's BTF, as globals.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod capabilities;
pub mod count;
pub mod emit;
pub mod kernel;
pub mod namespaces;
pub mod room;
pub mod started;
pub mod subjects;
pub mod syscall;
pub mod tasks;
pub mod word;

/// Ends a program; the verifier refuses a program that could reach it.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
