//! The ioctls of `linux/vfio.h`.
//!
//! A number means different things on different file descriptors: look at [`Fd`] too. The releases before 6.6 are from
//! memory, not from the kernel's history.

use core::ffi::CStr;

use super::{ByValue, Description, Fd, Ioctl, Linux, ioctls, through};
use crate::vfio::*;

/// No struct: no size is sent.
const NO_SIZE: (u32, u32) = (0, 0);
/// A pointer to 32 bits: their size is fixed and not sent.
const WORD: (u32, u32) = (0, 4);

ioctls! {
    VFIO_TYPE;

    on Container, "a container, `/dev/vfio/vfio`":

    /// Returns the version of the VFIO interface, [`VFIO_API_VERSION`].
    "VFIO_GET_API_VERSION" = GET_API_VERSION(()),
        VFIO_BASE, NO_SIZE, since 3 6;
    /// Returns more than 0 if the extension, the argument, is there.
    "VFIO_CHECK_EXTENSION" = CHECK_EXTENSION(ByValue),
        VFIO_BASE + 1, NO_SIZE, since 3 6;
    /// Chooses the kind of IOMMU, the argument, of a container with a group in it.
    "VFIO_SET_IOMMU" = SET_IOMMU(ByValue),
        VFIO_BASE + 2, NO_SIZE, since 3 6;
    /// Tells page sizes and limits of an IOMMU of type 1.
    "VFIO_IOMMU_GET_INFO" = IOMMU_GET_INFO(vfio_iommu_type1_info),
        VFIO_BASE + 12, through!(vfio_iommu_type1_info.iova_pgsizes), since 3 6;
    /// Tells the DMA windows of an IOMMU of POWER.
    "VFIO_IOMMU_SPAPR_TCE_GET_INFO" = IOMMU_SPAPR_TCE_GET_INFO(vfio_iommu_spapr_tce_info),
        VFIO_BASE + 12, through!(vfio_iommu_spapr_tce_info.dma32_window_size), since 3 11;
    /// Maps memory of the process.
    "VFIO_IOMMU_MAP_DMA" = IOMMU_MAP_DMA(vfio_iommu_type1_dma_map),
        VFIO_BASE + 13, through!(vfio_iommu_type1_dma_map.size), since 3 6;
    /// Unmaps a range; a `vfio_bitmap` may follow the struct.
    "VFIO_IOMMU_UNMAP_DMA" = IOMMU_UNMAP_DMA(vfio_iommu_type1_dma_unmap),
        VFIO_BASE + 14, through!(vfio_iommu_type1_dma_unmap.size), since 3 6;
    /// Starts the use of a container with an IOMMU of POWER.
    "VFIO_IOMMU_ENABLE" = IOMMU_ENABLE(()),
        VFIO_BASE + 15, NO_SIZE, since 3 11;
    /// Ends the use of a container with an IOMMU of POWER.
    "VFIO_IOMMU_DISABLE" = IOMMU_DISABLE(()),
        VFIO_BASE + 16, NO_SIZE, since 3 11;
    /// Starts, stops or reads the record of written pages; a `vfio_iommu_type1_dirty_bitmap_get` may follow the struct.
    "VFIO_IOMMU_DIRTY_PAGES" = IOMMU_DIRTY_PAGES(vfio_iommu_type1_dirty_bitmap),
        VFIO_BASE + 17, through!(vfio_iommu_type1_dirty_bitmap.flags), since 5 8;
    /// Pins memory that an IOMMU of POWER will map.
    "VFIO_IOMMU_SPAPR_REGISTER_MEMORY" =
        IOMMU_SPAPR_REGISTER_MEMORY(vfio_iommu_spapr_register_memory),
        VFIO_BASE + 17, through!(vfio_iommu_spapr_register_memory.size), since 4 2;
    /// Unpins memory that was registered.
    "VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY" =
        IOMMU_SPAPR_UNREGISTER_MEMORY(vfio_iommu_spapr_register_memory),
        VFIO_BASE + 18, through!(vfio_iommu_spapr_register_memory.size), since 4 2;
    /// Creates a DMA window of an IOMMU of POWER.
    "VFIO_IOMMU_SPAPR_TCE_CREATE" = IOMMU_SPAPR_TCE_CREATE(vfio_iommu_spapr_tce_create),
        VFIO_BASE + 19, through!(vfio_iommu_spapr_tce_create.start_addr), since 4 2;
    /// Removes a DMA window of an IOMMU of POWER.
    "VFIO_IOMMU_SPAPR_TCE_REMOVE" = IOMMU_SPAPR_TCE_REMOVE(vfio_iommu_spapr_tce_remove),
        VFIO_BASE + 20, through!(vfio_iommu_spapr_tce_remove.start_addr), since 4 2;
    /// Handles errors of a partitionable endpoint of POWER.
    "VFIO_EEH_PE_OP" = EEH_PE_OP(vfio_eeh_pe_op),
        VFIO_BASE + 21, through!(vfio_eeh_pe_op.op), since 3 17;

    on Group, "a group, `/dev/vfio/$GROUP`":

    /// Tells whether the group can be used and is in a container.
    "VFIO_GROUP_GET_STATUS" = GROUP_GET_STATUS(vfio_group_status),
        VFIO_BASE + 3, through!(vfio_group_status.flags), since 3 6;
    /// Puts the group into a container, or onto an iommufd: a pointer to its descriptor.
    "VFIO_GROUP_SET_CONTAINER" = GROUP_SET_CONTAINER(i32),
        VFIO_BASE + 4, WORD, since 3 6;
    /// Takes the group out of its container.
    "VFIO_GROUP_UNSET_CONTAINER" = GROUP_UNSET_CONTAINER(()),
        VFIO_BASE + 5, NO_SIZE, since 3 6;
    /// Opens a device of the group by its name and returns its descriptor.
    "VFIO_GROUP_GET_DEVICE_FD" = GROUP_GET_DEVICE_FD(CStr),
        VFIO_BASE + 6, NO_SIZE, since 3 6;

    on Device, "a device":

    /// Tells the kind of a device and how many regions and interrupts it has; capabilities may follow the struct.
    "VFIO_DEVICE_GET_INFO" = DEVICE_GET_INFO(vfio_device_info),
        VFIO_BASE + 7, through!(vfio_device_info.num_irqs), since 3 6;
    /// Tells size, place and access of a region; capabilities may follow the struct.
    "VFIO_DEVICE_GET_REGION_INFO" = DEVICE_GET_REGION_INFO(vfio_region_info),
        VFIO_BASE + 8, through!(vfio_region_info.offset), since 3 6;
    /// Tells how many interrupts an index has and what can be done with them.
    "VFIO_DEVICE_GET_IRQ_INFO" = DEVICE_GET_IRQ_INFO(vfio_irq_info),
        VFIO_BASE + 9, through!(vfio_irq_info.count), since 3 6;
    /// Routes, masks, unmasks or triggers interrupts; its data follow the struct.
    "VFIO_DEVICE_SET_IRQS" = DEVICE_SET_IRQS(vfio_irq_set),
        VFIO_BASE + 10, through!(vfio_irq_set.count), since 3 6;
    /// Resets the device.
    "VFIO_DEVICE_RESET" = DEVICE_RESET(()),
        VFIO_BASE + 11, NO_SIZE, since 3 6;
    /// Lists the devices that a reset of the slot or bus would hit; they follow the struct.
    "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO" = DEVICE_GET_PCI_HOT_RESET_INFO(vfio_pci_hot_reset_info),
        VFIO_BASE + 12, through!(vfio_pci_hot_reset_info.count), since 3 12;
    /// Resets the slot or bus; descriptors of groups may follow the struct.
    "VFIO_DEVICE_PCI_HOT_RESET" = DEVICE_PCI_HOT_RESET(vfio_pci_hot_reset),
        VFIO_BASE + 13, through!(vfio_pci_hot_reset.count), since 3 12;
    /// Tells what a mediated graphics device shows.
    "VFIO_DEVICE_QUERY_GFX_PLANE" = DEVICE_QUERY_GFX_PLANE(vfio_device_gfx_plane_info),
        VFIO_BASE + 14, through!(vfio_device_gfx_plane_info.region_index), since 4 16;
    /// Returns the descriptor of the dma-buf with the id that the argument points to.
    "VFIO_DEVICE_GET_GFX_DMABUF" = DEVICE_GET_GFX_DMABUF(u32),
        VFIO_BASE + 15, WORD, since 4 16;
    /// Has the kernel write a register when an eventfd is signalled.
    "VFIO_DEVICE_IOEVENTFD" = DEVICE_IOEVENTFD(vfio_device_ioeventfd),
        VFIO_BASE + 16, through!(vfio_device_ioeventfd.fd), since 4 17;
    /// Reads, sets or probes a feature, whose data follow the struct.
    "VFIO_DEVICE_FEATURE" = DEVICE_FEATURE(vfio_device_feature),
        VFIO_BASE + 17, through!(vfio_device_feature.flags), since 5 7;
    /// Binds a device opened by its own node to an iommufd.
    "VFIO_DEVICE_BIND_IOMMUFD" = DEVICE_BIND_IOMMUFD(vfio_device_bind_iommufd),
        VFIO_BASE + 18, through!(vfio_device_bind_iommufd.out_devid), since 6 6;
    /// Attaches a bound device, or replaces its attachment.
    "VFIO_DEVICE_ATTACH_IOMMUFD_PT" = DEVICE_ATTACH_IOMMUFD_PT(vfio_device_attach_iommufd_pt),
        VFIO_BASE + 19, through!(vfio_device_attach_iommufd_pt.pt_id), since 6 6;
    /// Detaches a bound device.
    "VFIO_DEVICE_DETACH_IOMMUFD_PT" = DEVICE_DETACH_IOMMUFD_PT(vfio_device_detach_iommufd_pt),
        VFIO_BASE + 20, through!(vfio_device_detach_iommufd_pt.flags), since 6 6;

    on Migration, "the migration data of a device":

    /// Estimates how much there is left to copy before the device is stopped.
    "VFIO_MIG_GET_PRECOPY_INFO" = MIG_GET_PRECOPY_INFO(vfio_precopy_info),
        VFIO_BASE + 21, through!(vfio_precopy_info.dirty_bytes), since 6 2;
}
