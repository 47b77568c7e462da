//! Fails with E0277: a description of hardware that the kernel has no type for.

use iommufd::{Device, Result, VendorDescription, VtdInfo};

#[expect(dead_code, reason = "only the type matters")]
struct Registers(VtdInfo);

#[cfg(feature = "misuse")]
impl VendorDescription for Registers {}

fn describe<T: VendorDescription>(device: &Device) -> Result<T> {
    device.vendor_info()
}

fn case(device: &Device) -> Result<Registers> {
    describe(device).map(Registers)
}

fn main() {
    let _checked = case;
}
