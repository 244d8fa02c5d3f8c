//! From what objects say to what nodes have, and back: observe, plan, apply.

pub mod certificates;
