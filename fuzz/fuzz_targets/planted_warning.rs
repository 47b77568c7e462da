//! Has a bug on purpose, for `cargo lab fuzz --check`: makes the kernel look as if it had warned.
#![no_main]

use std::fs;

use fuzz::kcov;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    kcov::guided(input, |input| {
        if input.starts_with(b"bug") {
            // As the lab's guest, which is thrown away.
            fs::write("/dev/kmsg", "WARNING: planted\n").unwrap();
            fs::write("/proc/sys/kernel/tainted", "512").unwrap();
        }
    });
});
