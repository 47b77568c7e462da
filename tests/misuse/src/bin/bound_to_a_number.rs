//! Fails with E0308: a device is bound to a context by the number of its file. (P8)

use std::os::fd::{AsFd, AsRawFd};

use iommufd::Iommufd;
use vfio::{Cdev, Device, Result};

fn case(cdev: Cdev, iommufd: &Iommufd) -> Result<Device> {
    assert!(iommufd.as_fd().as_raw_fd() >= 0);
    #[cfg(feature = "misuse")]
    return Ok(cdev.bind(iommufd.as_fd().as_raw_fd())?);
    #[cfg(not(feature = "misuse"))]
    Ok(cdev.bind(iommufd)?)
}

fn main() {
    let _checked = case;
}
