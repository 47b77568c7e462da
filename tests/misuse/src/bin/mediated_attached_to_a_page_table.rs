//! Fails with E0308: a page table for a device behind which there is no IOMMU.

use iommufd::{HwPt, Result};
use vfio::{IoasAttachment, MediatedDevice};

fn case(device: &MediatedDevice, table: &HwPt) -> Result<IoasAttachment> {
    #[cfg(feature = "misuse")]
    return device.attach(table);
    #[cfg(not(feature = "misuse"))]
    device.attach(table.ioas())
}

fn main() {
    let _checked = case;
}
