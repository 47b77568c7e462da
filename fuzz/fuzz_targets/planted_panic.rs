//! Has a bug on purpose, for `cargo lab fuzz --check`: a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    assert!(!input.starts_with(b"bug"), "planted");
});
