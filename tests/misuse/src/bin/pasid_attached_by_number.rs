//! Fails with E0308: a number that nobody has checked to be a PASID.

use iommufd::{Device, HwPt, Pasid, PasidAttachment, Result};

fn case(device: &Device, hwpt: &HwPt) -> Option<Result<PasidAttachment>> {
    #[cfg(feature = "misuse")]
    return Some(device.attach_pasid(100_u32, hwpt));
    #[cfg(not(feature = "misuse"))]
    Some(device.attach_pasid(Pasid::new(100)?, hwpt))
}

fn main() {
    let _checked = case;
}
