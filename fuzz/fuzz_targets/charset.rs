#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| veild_fuzz::charset(data));
