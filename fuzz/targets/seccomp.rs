//! Fuzzes [`spo_fuzz::seccomp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|source: &[u8]| spo_fuzz::seccomp(source));
