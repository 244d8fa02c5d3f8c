//! The cheapest program there can be at the hook of the recorder: what it is measured against.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use spo_ebpf as _;

/// Does nothing.
#[btf_tracepoint(function = "sys_enter")]
pub fn empty(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
