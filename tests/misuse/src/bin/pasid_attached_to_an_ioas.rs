//! Fails with E0277: the page table that the kernel makes for an address space is none for PASIDs.

use iommufd::{Device, HwPt, Ioas, Pasid, PasidAttachment, Result};

fn case(device: &Device, pasid: Pasid, ioas: &Ioas) -> Result<PasidAttachment> {
    #[cfg(feature = "misuse")]
    return device.attach_pasid(pasid, ioas);
    #[cfg(not(feature = "misuse"))]
    device.attach_pasid(pasid, HwPt::builder(ioas, device).pasid(true).allocate()?)
}

fn main() {
    let _checked = case;
}
