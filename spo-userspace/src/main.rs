//! The command `spo`.
fn main() {}
