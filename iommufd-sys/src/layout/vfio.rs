//! The structs of `linux/vfio.h`.

use super::layout;
use crate::vfio::*;

layout! {
    vfio_info_cap_header(8, 4) { id@0:2, version@2:2, next@4 }
    vfio_group_status(8, 4) { argsz@0, flags@4 }
    vfio_device_info(24, 4) { argsz@0, flags@4, num_regions@8, num_irqs@12, cap_offset@16, pad@20 }
    vfio_device_info_cap_pci_atomic_comp(16, 4) { header@0:8, flags@8, reserved@12 }
    vfio_region_info(32, 8) { argsz@0, flags@4, index@8, cap_offset@12, size@16:8, offset@24:8 }
    vfio_region_sparse_mmap_area(16, 8) { offset@0:8, size@8:8 }
    vfio_region_info_cap_sparse_mmap(16, 8) { header@0:8, nr_areas@8, reserved@12, areas@16:0 }
    vfio_region_info_cap_type(16, 4) { header@0:8, type_@8, subtype@12 }
    vfio_region_gfx_edid(24, 4) { edid_offset@0, edid_max_size@4, edid_size@8, max_xres@12, max_yres@16, link_state@20 }
    vfio_device_migration_info(32, 8) {
        device_state@0, reserved@4, pending_bytes@8:8, data_offset@16:8, data_size@24:8
    }
    vfio_region_info_cap_nvlink2_ssatgt(16, 8) { header@0:8, tgt@8:8 }
    vfio_region_info_cap_nvlink2_lnkspd(16, 4) { header@0:8, link_speed@8, __pad@12 }
    vfio_irq_info(16, 4) { argsz@0, flags@4, index@8, count@12 }
    vfio_irq_set(20, 4) { argsz@0, flags@4, index@8, start@12, count@16, data@20:0 }
    vfio_pci_dependent_device(8, 4) { group_id@0, segment@4:2, bus@6:1, devfn@7:1 }
    vfio_pci_hot_reset_info(12, 4) { argsz@0, flags@4, count@8, devices@12:0 }
    vfio_pci_hot_reset(12, 4) { argsz@0, flags@4, count@8, group_fds@12:0 }
    vfio_device_gfx_plane_info(64, 8) {
        argsz@0, flags@4, drm_plane_type@8, drm_format@12, drm_format_mod@16:8, width@24, height@28, stride@32, size@36,
        x_pos@40, y_pos@44, x_hot@48, y_hot@52, region_index@56, reserved@60
    }
    vfio_device_ioeventfd(32, 8) { argsz@0, flags@4, offset@8:8, data@16:8, fd@24, reserved@28 }
    vfio_device_feature(8, 4) { argsz@0, flags@4, data@8:0 }
    vfio_device_bind_iommufd(24, 8) { argsz@0, flags@4, iommufd@8, out_devid@12, token_uuid_ptr@16:8 }
    vfio_device_attach_iommufd_pt(16, 4) { argsz@0, flags@4, pt_id@8, pasid@12 }
    vfio_device_detach_iommufd_pt(12, 4) { argsz@0, flags@4, pasid@8 }
    vfio_device_feature_migration(8, 8) { flags@0:8 }
    vfio_device_feature_mig_state(8, 4) { device_state@0, data_fd@4 }
    vfio_precopy_info(24, 8) { argsz@0, flags@4, initial_bytes@8:8, dirty_bytes@16:8 }
    vfio_device_low_power_entry_with_wakeup(8, 4) { wakeup_eventfd@0, reserved@4 }
    vfio_device_feature_dma_logging_control(24, 8) { page_size@0:8, num_ranges@8, __reserved@12, ranges@16:8 }
    vfio_device_feature_dma_logging_range(16, 8) { iova@0:8, length@8:8 }
    vfio_device_feature_dma_logging_report(32, 8) { iova@0:8, length@8:8, page_size@16:8, bitmap@24:8 }
    vfio_device_feature_mig_data_size(8, 8) { stop_copy_length@0:8 }
    vfio_device_feature_bus_master(4, 4) { op@0 }
    vfio_region_dma_range(16, 8) { offset@0:8, length@8:8 }
    vfio_device_feature_dma_buf(16, 8) { region_index@0, open_flags@4, flags@8, nr_ranges@12, dma_ranges@16:0 }
    vfio_device_feature_zpci_err(8, 8) { data@0:8 }
    vfio_iommu_type1_info(24, 8) { argsz@0, flags@4, iova_pgsizes@8:8, cap_offset@16, pad@20 }
    vfio_iova_range(16, 8) { start@0:8, end@8:8 }
    vfio_iommu_type1_info_cap_iova_range(16, 8) { header@0:8, nr_iovas@8, reserved@12, iova_ranges@16:0 }
    vfio_iommu_type1_info_cap_migration(32, 8) {
        header@0:8, flags@8, __bindgen_padding_0@12, pgsize_bitmap@16:8, max_dirty_bitmap_size@24:8
    }
    vfio_iommu_type1_info_dma_avail(12, 4) { header@0:8, avail@8 }
    vfio_iommu_type1_dma_map(32, 8) { argsz@0, flags@4, vaddr@8:8, iova@16:8, size@24:8 }
    vfio_bitmap(24, 8) { pgsize@0:8, size@8:8, data@16:8 }
    vfio_iommu_type1_dma_unmap(24, 8) { argsz@0, flags@4, iova@8:8, size@16:8, data@24:0 }
    vfio_iommu_type1_dirty_bitmap(8, 4) { argsz@0, flags@4, data@8:0 }
    vfio_iommu_type1_dirty_bitmap_get(40, 8) { iova@0:8, size@8:8, bitmap@16:24 }
    vfio_iommu_spapr_tce_ddw_info(16, 8) { pgsizes@0:8, max_dynamic_windows_supported@8, levels@12 }
    vfio_iommu_spapr_tce_info(32, 8) { argsz@0, flags@4, dma32_window_start@8, dma32_window_size@12, ddw@16:16 }
    vfio_eeh_pe_err(24, 8) { type_@0, func@4, addr@8:8, mask@16:8 }
    vfio_eeh_pe_op(40, 8) { argsz@0, flags@4, op@8, __bindgen_padding_0@12, err@16:24 }
    vfio_iommu_spapr_register_memory(24, 8) { argsz@0, flags@4, vaddr@8:8, size@16:8 }
    vfio_iommu_spapr_tce_create(40, 8) {
        argsz@0, flags@4, page_shift@8, __resv1@12, window_size@16:8, levels@24, __resv2@28, start_addr@32:8
    }
    vfio_iommu_spapr_tce_remove(16, 8) { argsz@0, flags@4, start_addr@8:8 }
}
