//! Profiles as values: models, readers, writers. No IO, no clock.

pub mod arch;
pub mod base;
pub mod diagnostic;
pub mod risk;
pub mod seccomp;
mod suggest;
pub mod syscalls;
mod tree;
