//! Lists of the kernel's ioctls, as anybody can issue them who has the file: with ids of the wrong kind, ranges that
//! overlap, arguments of other lengths, and faults that are injected.
//!
//! What the kernel answers is its own business; that it complains (a warning, an oops) is a finding.

// UNSAFETY: issues ioctls with addresses in them.
#![expect(unsafe_code, reason = "issues ioctls")]

mod arena;
mod compat;
mod ioctls;
mod mock;
mod pinning;
mod program;
mod scenes;
mod stranger;

use std::fs;
use std::sync::LazyLock;

use program::Program;

/// More than these make a run long, and no more is found.
const MOST: usize = 64;

/// Issues the ioctls that `input` stands for.
pub fn run(input: &[u8]) {
    LazyLock::force(&PREPARED);
    let mut program = Program::new(input);
    program.begin();
    for _ in 0..MOST {
        if program.is_over() {
            break;
        }
        program.step();
    }
}

/// Injected faults are not to fill the kernel's log. And there are to be large pages.
static PREPARED: LazyLock<()> = LazyLock::new(|| {
    let _set = fs::write("/proc/sys/vm/nr_hugepages", "16");
    for (file, value) in [
        ("fail_iommufd/verbose", "0"),
        ("failslab/verbose", "0"),
        ("failslab/ignore-gfp-wait", "N"),
    ] {
        // Another kernel has no fault injection.
        let _set = fs::write(format!("/sys/kernel/debug/{file}"), value);
    }
});
