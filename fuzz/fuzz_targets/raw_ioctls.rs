//! Lists of the kernel's ioctls, as anybody can issue them, on the kernel's mock driver: see `fuzz::raw`.
#![no_main]

use fuzz::{kcov, raw};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    kcov::guided(input, raw::run);
});
