//! Tests that need no privileges.

mod cli;
mod filter;
mod profile;
mod selinux;
mod tidy;
