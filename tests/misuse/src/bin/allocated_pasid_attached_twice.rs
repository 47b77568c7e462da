//! Fails with E0382: a PASID goes to one page table; it is moved by its attachment.

use iommufd::{AllocatedPasid, HwPt, PasidAttachment, Result};

fn case(pasid: AllocatedPasid, first: &HwPt, second: &HwPt) -> Result<PasidAttachment> {
    let mut attachment = pasid.attach(first)?;
    #[cfg(feature = "misuse")]
    pasid.attach(second)?.detach()?;
    attachment.replace(second)?;
    Ok(attachment)
}

fn main() {
    let _checked = case;
}
