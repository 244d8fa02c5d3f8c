//! Profiles as values: models, readers, writers. No IO, no clock.

pub mod arch;
pub mod base;
pub mod risk;
mod suggest;
pub mod syscalls;
