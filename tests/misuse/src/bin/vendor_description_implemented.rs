//! Fails with E0277: a description of hardware that the kernel has no type for.

use iommufd::{Device, Result, VendorDescription, VtdInfo};

#[cfg(feature = "misuse")]
impl VendorDescription for u64 {}

fn describe<T: VendorDescription>(device: &Device) -> Result<T> {
    device.vendor_info()
}

fn case(device: &Device) -> Result<VtdInfo> {
    describe(device)
}

fn main() {
    let _checked = case;
}
