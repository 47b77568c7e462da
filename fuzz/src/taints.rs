//! Whether the kernel complains: what an input leads to that it does not like is a finding.

use std::fs;
use std::sync::LazyLock;

/// Bad page, died, warned, locked up.
const MISBEHAVED: u64 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14;

static BEFORE: LazyLock<u64> = LazyLock::new(now);

fn now() -> u64 {
    let text = fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
    text.trim().parse::<u64>().unwrap_or(0) & MISBEHAVED
}

/// What it has complained of until now is not this run's.
pub(crate) fn begin() {
    LazyLock::force(&BEFORE);
}

/// Fails if it has complained since.
pub(crate) fn check() {
    assert!(now() & !*BEFORE == 0, "the kernel complains: see its log");
}
