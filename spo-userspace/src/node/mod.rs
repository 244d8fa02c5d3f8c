//! Effects on the host, and what it tells: processes, files, filters.

pub mod capabilities;
pub mod cleanup;
pub mod entrance;
pub mod filter;
pub mod machine;
pub mod output;
pub mod process;
pub mod profiles;
pub mod program;
pub mod seccomp;
pub mod setup;
