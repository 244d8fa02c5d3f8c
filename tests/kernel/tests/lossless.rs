//! Is every call found, or the loss told?
//!
//! The program `probe` makes rare calls in all the ways in which a program can; what the profile has of them must be
//! exactly what it made, and all counters must read zero. Where maps are too small, or the kernel skips runs of the
//! programs, the counters must say so.
#![cfg(target_arch = "x86_64")]

#[path = "lossless/abis.rs"]
mod abis;
#[path = "lossless/containers.rs"]
mod containers;
#[path = "lossless/descendants.rs"]
mod descendants;
#[path = "lossless/exits.rs"]
mod exits;
#[path = "lossless/idle.rs"]
mod idle;
#[path = "lossless/joined.rs"]
mod joined;
#[path = "lossless/limits.rs"]
mod limits;
#[path = "lossless/preempted.rs"]
mod preempted;
#[path = "lossless/programs.rs"]
mod programs;
#[path = "lossless/recording.rs"]
mod recording;
