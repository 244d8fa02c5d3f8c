//! Tests that need no privileges.

mod api;
mod cli;
mod filter;
mod profile;
mod tidy;
