//! The objects that `build.rs` made, inside the binary.

use aya::include_bytes_aligned;

use super::Error;

/// `spo-ebpf/src/bin/recorder.rs`
pub(super) static RECORDER: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/recorder"));
/// `spo-ebpf/src/bin/denials.rs`
pub(super) static DENIALS: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/denials"));
/// `spo-ebpf/src/bin/filters.rs`
pub(super) static FILTERS: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/filters"));

/// `spo-ebpf/src/bin/empty.rs`
pub(super) static EMPTY: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/empty"));

/// Refuses the stubs that a build without an eBPF toolchain holds.
pub(super) fn check() -> Result<(), Error> {
    if cfg!(spo_ebpf_stubs) {
        Err(Error::Stubs)
    } else {
        Ok(())
    }
}
