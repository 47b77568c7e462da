//! Fails with E0133: a device that nothing tells to have an IOMMU is taken for one that has.

#![expect(unsafe_code, reason = "answers for the device")]

use std::os::fd::OwnedFd;

use vfio::{Cdev, Refused};

fn case(fd: OwnedFd) -> Result<Cdev, Refused<OwnedFd>> {
    #[cfg(feature = "misuse")]
    return Cdev::from_fd_with_iommu(fd);
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        Cdev::from_fd_with_iommu(fd)
    }
}

fn main() {
    let _checked = case;
}
