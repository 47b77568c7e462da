//! Fails with E0599: a page table is made for a device behind which there is no IOMMU.

use iommufd::{HwPt, Ioas, Result};
use vfio::{Device, MediatedDevice};

fn case(ioas: &Ioas, mediated: &MediatedDevice, device: &Device) -> Result<HwPt> {
    assert!(mediated.address() != device.address());
    #[cfg(feature = "misuse")]
    return HwPt::new(ioas, mediated.iommu());
    #[cfg(not(feature = "misuse"))]
    HwPt::new(ioas, device.iommu())
}

fn main() {
    let _checked = case;
}
