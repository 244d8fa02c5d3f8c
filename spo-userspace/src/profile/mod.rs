//! Profiles as values: models, readers, writers. No IO, no clock.

pub mod arch;
pub mod base;
pub mod diagnostic;
mod fields;
pub mod lint;
pub mod named;
pub mod object;
pub mod risk;
pub mod seccomp;
pub mod state;
mod suggest;
pub mod syscalls;
mod tree;
