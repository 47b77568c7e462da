//! Fails with E0599: a PASID is attached of a device behind which there is no IOMMU.

use iommufd::{HwPt, Pasid, PasidAttachment, Result};
use vfio::AnyDevice;

fn case(device: &AnyDevice, pasid: Pasid, table: &HwPt) -> Option<Result<PasidAttachment>> {
    #[cfg(feature = "misuse")]
    return Some(device.attach_pasid(pasid, table));
    #[cfg(not(feature = "misuse"))]
    Some(device.as_device()?.attach_pasid(pasid, table))
}

fn main() {
    let _checked = case;
}
