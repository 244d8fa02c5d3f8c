//! Tests that need no privileges.

mod apparmor;
mod cli;
mod filter;
mod profile;
mod tidy;
