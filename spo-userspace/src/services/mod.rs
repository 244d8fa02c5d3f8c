//! The processes that run in a cluster, and how each is put together.

pub mod daemon;
mod health;
