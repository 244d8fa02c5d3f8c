//! Tests that need no privileges.

mod filter;
mod profile;
mod tidy;
