//! Security profiles for Kubernetes: what every part of `spo` stands on.
//!
//! `ARCHITECTURE.md` says which module may use which.

pub mod api;
#[expect(unsafe_code, reason = "eBPF maps and records are raw memory")]
pub mod bpf;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod enrich;
pub mod event;
pub mod inventory;
pub mod migrate;
pub mod node;
pub mod profile;
pub mod recorder;
pub mod server;
pub mod services;
pub mod source;
pub mod telemetry;
pub mod uninstall;
pub mod verify;
pub mod webhook;
