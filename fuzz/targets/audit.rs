//! Fuzzes [`spo_fuzz::audit`].
#![no_main]

libfuzzer_sys::fuzz_target!(|source: &[u8]| spo_fuzz::audit(source));
