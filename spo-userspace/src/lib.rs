//! Security profiles for Kubernetes: what every part of `spo` stands on.
//!
//! `ARCHITECTURE.md` says which module may use which.

pub mod profile;
