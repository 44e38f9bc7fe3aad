//! Refusals, vendors' too.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| rust_openflow_fuzz::message_of("error", bytes));
