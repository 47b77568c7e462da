//! Fails with `unused_must_use`: the guard is not kept, so the PASID is detached on the spot.

#![deny(unused_must_use)]

use iommufd::{Device, HwPt, Pasid, PasidAttachment, Result};

fn case(device: &Device, pasid: Pasid, hwpt: &HwPt) -> Result<PasidAttachment> {
    #[cfg(feature = "misuse")]
    device.attach_pasid(pasid, hwpt)?;
    let attachment = device.attach_pasid(pasid, hwpt)?;
    Ok(attachment)
}

fn main() {
    let _checked = case;
}
