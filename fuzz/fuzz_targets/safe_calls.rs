//! Lists of safe calls, on the kernel's mock driver: see `fuzz::calls`.
#![no_main]

use fuzz::{calls, kcov};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    kcov::guided(input, calls::run);
});
