#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| migplan_fuzz::readers::uuids(data));
