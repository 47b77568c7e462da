//! Fails with E0382: a PASID is attached that may be another's by now.

use iommufd::{AllocatedPasid, HwPt, PasidAttachment, Refused};

fn case(
    pasid: AllocatedPasid,
    other: AllocatedPasid,
    hwpt: &HwPt,
) -> Result<PasidAttachment, Refused<AllocatedPasid>> {
    drop(pasid);
    #[cfg(feature = "misuse")]
    return pasid.attach(hwpt);
    #[cfg(not(feature = "misuse"))]
    other.attach(hwpt)
}

fn main() {
    let _checked = case;
}
