//! Types that the eBPF programs and user space share.
//!
//! Every type here crosses a BPF map or ring buffer: fixed layout, integers only, padding spelled out,
//! and a compile-time assertion of its size and offsets beside it.
#![no_std]

pub mod capabilities;
pub mod counter;
pub mod event;
pub mod filter;
pub mod layout;
pub mod namespace;
pub mod started;
pub mod subject;
pub mod unnamed;

/// Version of everything in this crate. Every record carries it, and user space takes no record with another one.
pub const ABI_VERSION: u32 = 4;
