//! Tests that need no privileges.

mod api;
mod apparmor;
mod cli;
mod filter;
mod profile;
mod seccomp;
mod selinux;
mod tidy;
mod verbs;
