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
mod program;

use std::fs;
use std::sync::LazyLock;

use program::Program;

/// More than these make a run long, and no more is found.
const MOST: usize = 64;

/// Issues the ioctls that `input` stands for.
pub fn run(input: &[u8]) {
    LazyLock::force(&QUIET);
    LazyLock::force(&TAINTS);
    let mut program = Program::new(input);
    program.begin();
    for _ in 0..MOST {
        if program.is_over() {
            break;
        }
        program.step();
    }
    drop(program);
    assert!(!TAINTS.complains(), "the kernel complains: see its log");
}

/// Injected faults are not to fill the kernel's log.
static QUIET: LazyLock<()> = LazyLock::new(|| {
    for (file, value) in [
        ("fail_iommufd/verbose", "0"),
        ("failslab/verbose", "0"),
        ("failslab/ignore-gfp-wait", "N"),
    ] {
        // Another kernel has no fault injection.
        let _set = fs::write(format!("/sys/kernel/debug/{file}"), value);
    }
});

static TAINTS: LazyLock<Taints> = LazyLock::new(Taints::now);

/// What the kernel says of itself.
struct Taints {
    before: u64,
}

impl Taints {
    /// Bad page, died, warned, locked up.
    const MISBEHAVED: u64 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14;

    fn now() -> Self {
        Self {
            before: Self::read(),
        }
    }

    fn read() -> u64 {
        let text = fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0) & Self::MISBEHAVED
    }

    fn complains(&self) -> bool {
        Self::read() & !self.before != 0
    }
}
