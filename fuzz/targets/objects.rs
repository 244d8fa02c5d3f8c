//! Fuzzes [`spo_fuzz::objects`].
#![no_main]

libfuzzer_sys::fuzz_target!(|source: &[u8]| spo_fuzz::objects(source));
