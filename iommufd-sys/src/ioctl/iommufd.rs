//! The ioctls of `linux/iommufd.h`.
//!
//! The numbers are those of `IOMMUFD_CMD_*`; `through!` names the last field that the kernel's own table demands.

use super::{Description, Fd, Ioctl, Linux, ioctls, through};
use crate::iommufd::*;

ioctls! {
    IOMMUFD_TYPE;

    on Iommu, "`/dev/iommu`":

    /// Destroys an object.
    "IOMMU_DESTROY" = DESTROY(iommu_destroy),
        IOMMUFD_CMD_DESTROY, through!(iommu_destroy.id), since 6 2;
    /// Creates an empty I/O address space.
    "IOMMU_IOAS_ALLOC" = IOAS_ALLOC(iommu_ioas_alloc),
        IOMMUFD_CMD_IOAS_ALLOC, through!(iommu_ioas_alloc.out_ioas_id), since 6 2;
    /// Replaces the list of ranges an address space promises to keep usable.
    "IOMMU_IOAS_ALLOW_IOVAS" = IOAS_ALLOW_IOVAS(iommu_ioas_allow_iovas),
        IOMMUFD_CMD_IOAS_ALLOW_IOVAS, through!(iommu_ioas_allow_iovas.allowed_iovas), since 6 2;
    /// Maps into one address space the pages that another has mapped.
    "IOMMU_IOAS_COPY" = IOAS_COPY(iommu_ioas_copy),
        IOMMUFD_CMD_IOAS_COPY, through!(iommu_ioas_copy.src_iova), since 6 2;
    /// Lists the ranges that can be mapped, and their alignment.
    "IOMMU_IOAS_IOVA_RANGES" = IOAS_IOVA_RANGES(iommu_ioas_iova_ranges),
        IOMMUFD_CMD_IOAS_IOVA_RANGES, through!(iommu_ioas_iova_ranges.out_iova_alignment), since 6 2;
    /// Maps memory of the process.
    "IOMMU_IOAS_MAP" = IOAS_MAP(iommu_ioas_map),
        IOMMUFD_CMD_IOAS_MAP, through!(iommu_ioas_map.iova), since 6 2;
    /// Unmaps whole mappings.
    "IOMMU_IOAS_UNMAP" = IOAS_UNMAP(iommu_ioas_unmap),
        IOMMUFD_CMD_IOAS_UNMAP, through!(iommu_ioas_unmap.length), since 6 2;
    /// Reads or sets an option of the context or of an object.
    "IOMMU_OPTION" = OPTION(iommu_option),
        IOMMUFD_CMD_OPTION, through!(iommu_option.val64), since 6 2;
    /// Reads, sets or clears the address space that the ioctls of a VFIO container work on.
    "IOMMU_VFIO_IOAS" = VFIO_IOAS(iommu_vfio_ioas),
        IOMMUFD_CMD_VFIO_IOAS, through!(iommu_vfio_ioas.__reserved), since 6 2;
    /// Creates a hardware page table.
    "IOMMU_HWPT_ALLOC" = HWPT_ALLOC(iommu_hwpt_alloc),
        IOMMUFD_CMD_HWPT_ALLOC, through!(iommu_hwpt_alloc.__reserved), since 6 6;
    /// Tells what the IOMMU of a device can do.
    "IOMMU_GET_HW_INFO" = GET_HW_INFO(iommu_hw_info),
        IOMMUFD_CMD_GET_HW_INFO, through!(iommu_hw_info.__reserved), since 6 6;
    /// Starts or stops recording which pages devices write.
    "IOMMU_HWPT_SET_DIRTY_TRACKING" = HWPT_SET_DIRTY_TRACKING(iommu_hwpt_set_dirty_tracking),
        IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING,
        through!(iommu_hwpt_set_dirty_tracking.__reserved), since 6 7;
    /// Reads, and unless told otherwise clears, which pages devices wrote.
    "IOMMU_HWPT_GET_DIRTY_BITMAP" = HWPT_GET_DIRTY_BITMAP(iommu_hwpt_get_dirty_bitmap),
        IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP, through!(iommu_hwpt_get_dirty_bitmap.data), since 6 7;
    /// Invalidates what the IOMMU caches of a nested page table or of a virtual IOMMU.
    "IOMMU_HWPT_INVALIDATE" = HWPT_INVALIDATE(iommu_hwpt_invalidate),
        IOMMUFD_CMD_HWPT_INVALIDATE, through!(iommu_hwpt_invalidate.__reserved), since 6 8;
    /// Creates a queue of I/O page faults.
    "IOMMU_FAULT_QUEUE_ALLOC" = FAULT_QUEUE_ALLOC(iommu_fault_alloc),
        IOMMUFD_CMD_FAULT_QUEUE_ALLOC, through!(iommu_fault_alloc.out_fault_fd), since 6 11;
    /// Maps memory of a file: a memfd, or since Linux 6.19 a VFIO dma-buf.
    "IOMMU_IOAS_MAP_FILE" = IOAS_MAP_FILE(iommu_ioas_map_file),
        IOMMUFD_CMD_IOAS_MAP_FILE, through!(iommu_ioas_map_file.iova), since 6 13;
    /// Creates a virtual IOMMU.
    "IOMMU_VIOMMU_ALLOC" = VIOMMU_ALLOC(iommu_viommu_alloc),
        IOMMUFD_CMD_VIOMMU_ALLOC, through!(iommu_viommu_alloc.out_viommu_id), since 6 13;
    /// Tells a virtual IOMMU the number by which the guest knows a device.
    "IOMMU_VDEVICE_ALLOC" = VDEVICE_ALLOC(iommu_vdevice_alloc),
        IOMMUFD_CMD_VDEVICE_ALLOC, through!(iommu_vdevice_alloc.virt_id), since 6 13;
    /// Moves the accounting of pinned memory to the calling process.
    "IOMMU_IOAS_CHANGE_PROCESS" = IOAS_CHANGE_PROCESS(iommu_ioas_change_process),
        IOMMUFD_CMD_IOAS_CHANGE_PROCESS, through!(iommu_ioas_change_process.__reserved), since 6 14;
    /// Creates a queue of the events of a virtual IOMMU.
    "IOMMU_VEVENTQ_ALLOC" = VEVENTQ_ALLOC(iommu_veventq_alloc),
        IOMMUFD_CMD_VEVENTQ_ALLOC, through!(iommu_veventq_alloc.out_veventq_fd), since 6 15;
    /// Gives a virtual IOMMU a queue in guest memory that the hardware itself reads.
    "IOMMU_HW_QUEUE_ALLOC" = HW_QUEUE_ALLOC(iommu_hw_queue_alloc),
        IOMMUFD_CMD_HW_QUEUE_ALLOC, through!(iommu_hw_queue_alloc.length), since 6 17;
    /// Tells the physical address behind an I/O address of a device that has no IOMMU.
    "IOMMU_IOAS_NOIOMMU_GET_PA" = IOAS_NOIOMMU_GET_PA(iommu_ioas_noiommu_get_pa),
        IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA, through!(iommu_ioas_noiommu_get_pa.out_phys), since 7 3;
}
