//! The other names of the fields that are unions in C (see `build/rewrite.rs`).

use crate::iommufd::iommu_hw_info;
use crate::vfio::{vfio_device_gfx_plane_info, vfio_pci_dependent_device};

impl iommu_hw_info {
    /// The type of the data the kernel filled in: `in_data_type` by its name on output.
    pub const fn out_data_type(&self) -> u32 {
        self.in_data_type
    }
}

impl vfio_pci_dependent_device {
    /// What `group_id` means when the report has `VFIO_PCI_HOT_RESET_FLAG_DEV_ID`.
    pub const fn devid(&self) -> u32 {
        self.group_id
    }
}

impl vfio_device_gfx_plane_info {
    /// What `region_index` means for a plane in a dma-buf.
    pub const fn dmabuf_id(&self) -> u32 {
        self.region_index
    }
}
