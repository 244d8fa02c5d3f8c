//! Where the node's news come from.

pub mod audit;
