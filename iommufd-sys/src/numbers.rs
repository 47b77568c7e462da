//! Number and sizes of every ioctl, asserted when the crate is compiled.
//!
//! [`crate::ioctl`] computes them from the bindings; here they stand as they were read from the kernel's own tables.

use crate::ioctl;

/// `number NAME (min_size, size)`
macro_rules! numbers {
    ($header:ident: $($request:literal $name:ident ($min:literal, $size:literal))+) => {
        const _: () = {
            $(
                assert!(ioctl::$header::$name.request() & !ioctl::NO_DIRECTION == $request);
                assert!(ioctl::$header::$name.min_size() == $min);
                // Structs grow at their end, so the headers of a newer kernel may have larger ones.
                assert!(
                    ioctl::$header::$name.size() == $size
                        || cfg!(feature = "bindgen") && ioctl::$header::$name.size() > $size
                );
            )+
            assert!(ioctl::$header::ALL.len() == [$($request),+].len());
        };
    };
}

numbers! { iommufd:
    0x3B80 DESTROY (8, 8)
    0x3B81 IOAS_ALLOC (12, 12)
    0x3B82 IOAS_ALLOW_IOVAS (24, 24)
    0x3B83 IOAS_COPY (40, 40)
    0x3B84 IOAS_IOVA_RANGES (32, 32)
    0x3B85 IOAS_MAP (40, 40)
    0x3B86 IOAS_UNMAP (24, 24)
    0x3B87 OPTION (24, 24)
    0x3B88 VFIO_IOAS (12, 12)
    0x3B89 HWPT_ALLOC (24, 48)
    0x3B8A GET_HW_INFO (32, 40)
    0x3B8B HWPT_SET_DIRTY_TRACKING (16, 16)
    0x3B8C HWPT_GET_DIRTY_BITMAP (48, 48)
    0x3B8D HWPT_INVALIDATE (32, 32)
    0x3B8E FAULT_QUEUE_ALLOC (16, 16)
    0x3B8F IOAS_MAP_FILE (40, 40)
    0x3B90 VIOMMU_ALLOC (24, 40)
    0x3B91 VDEVICE_ALLOC (24, 24)
    0x3B92 IOAS_CHANGE_PROCESS (8, 8)
    0x3B93 VEVENTQ_ALLOC (28, 32)
    0x3B94 HW_QUEUE_ALLOC (40, 40)
    0x3B95 IOAS_NOIOMMU_GET_PA (40, 40)
}

numbers! { vfio:
    0x3B64 GET_API_VERSION (0, 0)
    0x3B65 CHECK_EXTENSION (0, 0)
    0x3B66 SET_IOMMU (0, 0)
    0x3B67 GROUP_GET_STATUS (8, 8)
    0x3B68 GROUP_SET_CONTAINER (0, 4)
    0x3B69 GROUP_UNSET_CONTAINER (0, 0)
    0x3B6A GROUP_GET_DEVICE_FD (0, 0)
    0x3B6B DEVICE_GET_INFO (16, 24)
    0x3B6C DEVICE_GET_REGION_INFO (32, 32)
    0x3B6D DEVICE_GET_IRQ_INFO (16, 16)
    0x3B6E DEVICE_SET_IRQS (20, 20)
    0x3B6F DEVICE_RESET (0, 0)
    0x3B70 IOMMU_GET_INFO (16, 24)
    0x3B70 IOMMU_SPAPR_TCE_GET_INFO (16, 32)
    0x3B70 DEVICE_GET_PCI_HOT_RESET_INFO (12, 12)
    0x3B71 IOMMU_MAP_DMA (32, 32)
    0x3B71 DEVICE_PCI_HOT_RESET (12, 12)
    0x3B72 IOMMU_UNMAP_DMA (24, 24)
    0x3B72 DEVICE_QUERY_GFX_PLANE (60, 64)
    0x3B73 IOMMU_ENABLE (0, 0)
    0x3B73 DEVICE_GET_GFX_DMABUF (0, 4)
    0x3B74 IOMMU_DISABLE (0, 0)
    0x3B74 DEVICE_IOEVENTFD (28, 32)
    0x3B75 IOMMU_DIRTY_PAGES (8, 8)
    0x3B75 IOMMU_SPAPR_REGISTER_MEMORY (24, 24)
    0x3B75 DEVICE_FEATURE (8, 8)
    0x3B76 IOMMU_SPAPR_UNREGISTER_MEMORY (24, 24)
    0x3B76 DEVICE_BIND_IOMMUFD (16, 24)
    0x3B77 IOMMU_SPAPR_TCE_CREATE (40, 40)
    0x3B77 DEVICE_ATTACH_IOMMUFD_PT (12, 16)
    0x3B78 IOMMU_SPAPR_TCE_REMOVE (16, 16)
    0x3B78 DEVICE_DETACH_IOMMUFD_PT (8, 12)
    0x3B79 EEH_PE_OP (12, 40)
    0x3B79 MIG_GET_PRECOPY_INFO (24, 24)
}
