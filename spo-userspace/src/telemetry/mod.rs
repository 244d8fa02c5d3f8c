//! What a process tells about itself.

pub mod http;
