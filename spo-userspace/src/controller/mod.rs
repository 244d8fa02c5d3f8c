//! From what objects say to what nodes have, and from what nodes have to what objects say.
//!
//! Each controller observes, plans and applies. A plan is a pure function of what was observed, so
//! that it is tested without a cluster.

pub mod bases;
pub mod binding;
pub mod certificates;
pub mod config;
pub mod index;
pub mod nodes;
pub mod profile;
pub mod recorder;
pub mod recording;
pub mod seccomp;
pub mod status;
pub mod usage;
