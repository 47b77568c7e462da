//! Fails with E0277: not everything that a device can be attached to is for its PASIDs.

use iommufd::{Device, HwPt, Pasid, PasidAttachment, Result};

fn case(device: &Device, pasid: Pasid, hwpt: &HwPt) -> Result<PasidAttachment> {
    #[cfg(feature = "misuse")]
    return device.attach_pasid(pasid, iommufd::Target::from(hwpt));
    #[cfg(not(feature = "misuse"))]
    device.attach_pasid(pasid, hwpt)
}

fn main() {
    let _checked = case;
}
