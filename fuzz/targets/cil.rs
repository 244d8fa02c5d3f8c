//! Fuzzes [`spo_fuzz::cil`].
#![no_main]

libfuzzer_sys::fuzz_target!(|source: &[u8]| spo_fuzz::cil(source));
