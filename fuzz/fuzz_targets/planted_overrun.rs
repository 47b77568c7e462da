//! Has a bug on purpose, for `cargo lab fuzz --check`: reads behind the end of what was allocated.
#![no_main]
// UNSAFETY: is wrong on purpose.
#![expect(unsafe_code, reason = "a bug, for AddressSanitizer to find")]

use std::hint::black_box;

use fuzz::kcov;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    kcov::guided(input, |input| {
        if input.starts_with(b"bug") {
            let bytes = black_box(vec![0_u8; 8]);
            // SAFETY: none. It is one byte behind the end.
            black_box(unsafe { *bytes.as_ptr().wrapping_add(bytes.len()) });
        }
    });
});
