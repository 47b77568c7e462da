//! Which kernel is running.

use std::fs;

use iommufd_sys::ioctl::Linux;

/// The Linux that is running.
#[must_use]
pub fn running() -> Linux {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().unwrap().parse().unwrap();
    linux(next(), next())
}

/// The Linux of these numbers.
#[must_use]
pub const fn linux(major: u8, minor: u8) -> Linux {
    Linux { major, minor }
}
