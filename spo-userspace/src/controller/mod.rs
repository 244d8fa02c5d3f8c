//! From what objects say to what nodes have, and back. Each controller observes, plans and
//! applies; plans are pure.

pub mod seccomp;
