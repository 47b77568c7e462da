//! What the kernel says that a process has pinned and locked.

use std::fs;

/// The bytes on a process's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accounted {
    /// `VmPin`: what is pinned, whoever may.
    pub pinned: u64,
    /// `VmLck`: what counts against the limit of locked memory of this process.
    pub locked: u64,
}

impl Accounted {
    /// Of this process.
    #[must_use]
    pub fn here() -> Self {
        Self::of("self")
    }

    /// Of the process whose folder in `/proc` is `process`.
    #[must_use]
    pub fn of(process: &str) -> Self {
        let path = format!("/proc/{process}/status");
        let status = fs::read_to_string(path).unwrap();
        Self {
            pinned: bytes(&status, "VmPin:"),
            locked: bytes(&status, "VmLck:"),
        }
    }

    /// What has come since `before`, in bytes pinned and bytes locked.
    #[must_use]
    pub fn since(self, before: Self) -> (u64, u64) {
        (self.pinned - before.pinned, self.locked - before.locked)
    }
}

/// The bytes that this process has pinned.
#[must_use]
pub fn pinned() -> u64 {
    Accounted::here().pinned
}

/// The bytes that count against the limit of locked memory of this process.
#[must_use]
pub fn locked() -> u64 {
    Accounted::here().locked
}

fn bytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.unwrap().trim().strip_suffix(" kB").unwrap();
    number.parse::<u64>().unwrap() * 1024
}
