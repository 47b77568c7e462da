//! Fails with E0133: a number is declared to be the id of a device that somebody else has bound.

#![expect(unsafe_code, reason = "answers for the id")]

use iommufd::Iommufd;
use vfio::{AnyDevice, PreBound, Refused};

fn case(device: PreBound, iommufd: &Iommufd) -> Result<AnyDevice, Refused<PreBound>> {
    #[cfg(feature = "misuse")]
    return device.adopt(iommufd);
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        device.adopt(iommufd)
    }
}

fn main() {
    let _checked = case;
}
