//! The eBPF side: objects, offsets, loading, reading. The only module that names `aya`, and the only one with `unsafe`.

pub mod baseline;
pub mod denials;
mod error;
mod info;
pub mod kernel;
mod objects;
mod ready;
pub mod recorder;
mod records;

pub use error::Error;
pub use info::{LoadedProgram, loaded_programs};
pub use ready::Ready;
