//! Tests that need no privileges.

mod cli;
mod filter;
mod profile;
mod tidy;
