#![no_main]

// In place of the fuzzer's hook, which ends the process at panics that veild catches, too.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))), |data: &[u8]| veild_fuzz::parquet(data));
