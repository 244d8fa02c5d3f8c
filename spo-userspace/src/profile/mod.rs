//! Profiles as values: models, readers, writers. No IO, no clock.

pub mod apparmor;
pub mod arch;
pub mod base;
pub mod diagnostic;
pub mod documents;
pub(crate) mod few;
pub(crate) mod fields;
pub mod format;
pub mod labels;
pub mod lint;
pub mod named;
pub mod object;
pub mod risk;
pub mod seccomp;
pub mod selector;
pub mod selinux;
pub mod state;
pub(crate) mod suggest;
pub mod syscalls;
pub(crate) mod tree;

pub use self::tree::LARGEST_FILE;
