//! Fails with E0308: a device takes over a file that somebody else will close.

use std::os::fd::{AsRawFd, OwnedFd};

use vfio::{Cdev, Result};

fn case(fd: OwnedFd) -> Result<Cdev> {
    assert!(fd.as_raw_fd() >= 0);
    #[cfg(feature = "misuse")]
    return Ok(Cdev::from_fd(fd.as_raw_fd())?);
    #[cfg(not(feature = "misuse"))]
    Ok(Cdev::from_fd(fd)?)
}

fn main() {
    let _checked = case;
}
