//! Fails with E0133: a device whose DMA nothing confines is opened by safe code.

#![expect(unsafe_code, reason = "answers for the device")]

use std::path::Path;

use iommufd::Iommufd;
use vfio::{NoIommuDevice, Result};

fn case(path: &Path, iommufd: &Iommufd) -> Result<NoIommuDevice> {
    #[cfg(feature = "misuse")]
    return NoIommuDevice::open(path, iommufd);
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        NoIommuDevice::open(path, iommufd)
    }
}

fn main() {
    let _checked = case;
}
