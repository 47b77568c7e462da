//! Fails with E0624: hardware information of a device that nobody has bound.

use iommufd::{Device, HwInfo, Result};

fn case(device: &Device) -> Result<HwInfo> {
    #[cfg(feature = "misuse")]
    return HwInfo::of(device.iommufd(), 2);
    #[cfg(not(feature = "misuse"))]
    device.hw_info()
}

fn main() {
    let _checked = case;
}
