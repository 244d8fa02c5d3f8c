//! What the kernel and the node say of a process, as what a person calls it. No IO, no clock.

pub mod audit;
mod cgroup;

pub use cgroup::{Container, container, container_id, is_long_id};
