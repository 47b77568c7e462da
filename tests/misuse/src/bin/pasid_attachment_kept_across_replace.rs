//! Fails with E0382: the old guard is used after the PASID has moved.

use iommufd::{HwPt, PasidAttachment, Result};

fn case(attachment: PasidAttachment, hwpt: &HwPt) -> Result<PasidAttachment> {
    let moved = attachment.replace(hwpt)?;
    #[cfg(feature = "misuse")]
    attachment.detach()?;
    Ok(moved)
}

fn main() {
    let _checked = case;
}
