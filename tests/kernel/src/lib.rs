//! What the tests share that load eBPF programs into a kernel.

pub mod probe;
pub mod ratio;
pub mod spo;
pub mod tier;
pub mod tracefs;
