//! Tests that need no privileges.

mod profile;
mod tidy;
