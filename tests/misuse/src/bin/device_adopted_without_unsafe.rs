//! Fails with E0133: a number is declared to be the id of a bound device.

#![expect(unsafe_code, reason = "answers for the id")]

use std::sync::Arc;

use iommufd::driver::DeviceDriver;
use iommufd::{Device, GroupIdentity, Iommufd, Result};

fn case(iommufd: &Iommufd, id: u32, driver: Arc<dyn DeviceDriver>) -> Result<Device> {
    let group = GroupIdentity::Unknown;
    #[cfg(feature = "misuse")]
    return Device::from_bound(iommufd, id, group, driver);
    // SAFETY: only type-checked, never run.
    #[cfg(not(feature = "misuse"))]
    unsafe {
        Device::from_bound(iommufd, id, group, driver)
    }
}

fn main() {
    let _checked = case;
}
