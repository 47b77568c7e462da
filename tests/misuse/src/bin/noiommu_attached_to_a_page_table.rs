//! Fails with E0308: a page table for a device that no IOMMU translates.

use iommufd::{HwPt, Result};
use vfio::{IoasAttachment, NoIommuDevice};

fn case(device: &NoIommuDevice, table: &HwPt) -> Result<IoasAttachment> {
    #[cfg(feature = "misuse")]
    return device.attach(table);
    #[cfg(not(feature = "misuse"))]
    device.attach(table.ioas())
}

fn main() {
    let _checked = case;
}
