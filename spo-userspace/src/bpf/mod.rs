//! The eBPF side: objects, offsets, loading, reading. The only module that names `aya`, and the only one with `unsafe`.

pub mod baseline;
mod capabilities;
pub mod containers;
pub mod denials;
mod error;
pub mod filters;
mod grace;
mod info;
pub mod kernel;
pub mod memory;
mod objects;
mod places;
mod ready;
pub mod recorder;
mod records;
mod subjects;
pub mod sweep;
mod syscall;

pub use error::Error;
pub use info::{LoadedProgram, loaded_programs};
pub use ready::Ready;
