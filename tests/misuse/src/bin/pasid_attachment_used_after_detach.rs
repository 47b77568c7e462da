//! Fails with E0382: an attachment is used after the PASID was detached.

use iommufd::{HwPt, PasidAttachment, Result};

fn case(attachment: PasidAttachment, hwpt: &HwPt) -> Result<PasidAttachment> {
    let (device, pasid) = (attachment.device().clone(), attachment.pasid());
    attachment.detach()?;
    #[cfg(feature = "misuse")]
    let _target = attachment.target();
    device.attach_pasid(pasid, hwpt)
}

fn main() {
    let _checked = case;
}
