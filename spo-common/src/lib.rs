//! Types that the eBPF programs and user space share.
//!
//! Every type here crosses a BPF map or ring buffer: fixed layout, integers only, padding spelled out,
//! and a compile-time assertion of its size and offsets beside it.
#![no_std]

pub mod counter;
pub mod event;
pub mod namespace;
pub mod subject;
pub mod unnamed;

/// Version of everything in this crate. It is compiled into the eBPF object as the global
/// `ABI_VERSION`; user space refuses an object that carries another one.
pub const ABI_VERSION: u32 = 1;
