//! Fails with E0277: a description of hardware that the kernel has no type for.

use iommufd::{Device, Result, VendorDescription, VtdInfo};

struct Registers(VtdInfo);

#[cfg(feature = "misuse")]
impl VendorDescription for Registers {}

fn describe<T: VendorDescription>(device: &Device) -> Result<T> {
    device.vendor_info()
}

fn case(device: &Device) -> Result<u64> {
    let registers = Registers(describe(device)?);
    Ok(registers.0.cap().bits())
}

fn main() {
    let _checked = case;
}
