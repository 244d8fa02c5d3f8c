//! Tests that need no privileges.

mod api;
mod apparmor;
mod cli;
mod deploy;
mod filter;
mod fuzz;
mod library;
mod namespaces;
mod profile;
mod seccomp;
mod selinux;
mod tidy;
mod verbs;
mod webhook;
