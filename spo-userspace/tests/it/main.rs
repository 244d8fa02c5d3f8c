//! Tests that need no privileges.

mod cli;
mod filter;
mod profile;
mod seccomp;
mod tidy;
