//! Records of the kernel's audit: what they say, which ones were seen before, and which never came.

mod fields;
mod line;
mod module;
mod seccomp;
mod serials;

pub use line::{Kernel, Kind, Record, Told, file_line, kernel_record, netlink};
pub use serials::Serials;
