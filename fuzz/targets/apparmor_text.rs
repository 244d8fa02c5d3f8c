//! Fuzzes [`spo_fuzz::apparmor_text`].
#![no_main]

libfuzzer_sys::fuzz_target!(|source: &[u8]| spo_fuzz::apparmor_text(source));
