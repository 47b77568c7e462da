//! What the kernel counts for this process.

use std::fs;

/// Pages that are pinned for the process, in KiB.
#[must_use]
pub fn pinned() -> u64 {
    status("VmPin")
}

/// Pages that count against its limit of locked memory, in KiB.
#[must_use]
pub fn locked() -> u64 {
    status("VmLck")
}

fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let fields = status.lines().find_map(|line| line.strip_prefix(name));
    let number = fields.and_then(|fields| fields.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {status}"))
}
