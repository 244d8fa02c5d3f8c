//! SELinux profiles: what is read, what is told about broken ones, what becomes of good ones.

mod compiler;
mod files;
mod merging;
mod parentheses;
mod rules;
mod size;
