//! Fails with E0308: a context takes over a file that somebody else will close.

use std::os::fd::OwnedFd;

use iommufd::{Iommufd, Result};

fn case(fd: OwnedFd) -> Result<Iommufd> {
    #[cfg(feature = "misuse")]
    return Iommufd::from_fd(3);
    #[cfg(not(feature = "misuse"))]
    Ok(Iommufd::from_fd(fd)?)
}

fn main() {
    let _checked = case;
}
