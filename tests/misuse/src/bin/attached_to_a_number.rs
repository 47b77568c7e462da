//! Fails with E0277: a device is attached to a page table by its number.

use iommufd::{Attachment, Device, HwPt, Result};

fn case(device: &Device, hwpt: &HwPt) -> Result<Attachment> {
    #[cfg(feature = "misuse")]
    return device.attach(7_u32);
    #[cfg(not(feature = "misuse"))]
    device.attach(hwpt)
}

fn main() {
    let _checked = case;
}
