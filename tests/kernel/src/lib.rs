//! Tests that load the eBPF programs into a kernel.
