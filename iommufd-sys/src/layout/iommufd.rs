//! The structs of `linux/iommufd.h`.

use super::layout;
use crate::iommufd::*;

layout! {
    iommu_destroy(8, 4) { size@0, id@4 }
    iommu_ioas_alloc(12, 4) { size@0, flags@4, out_ioas_id@8 }
    iommu_iova_range(16, 8) { start@0:8, last@8:8 }
    iommu_ioas_iova_ranges(32, 8) {
        size@0, ioas_id@4, num_iovas@8, __reserved@12, allowed_iovas@16:8, out_iova_alignment@24:8
    }
    iommu_ioas_allow_iovas(24, 8) { size@0, ioas_id@4, num_iovas@8, __reserved@12, allowed_iovas@16:8 }
    iommu_ioas_map(40, 8) { size@0, flags@4, ioas_id@8, __reserved@12, user_va@16:8, length@24:8, iova@32:8 }
    iommu_ioas_noiommu_get_pa(40, 8) {
        size@0, flags@4, ioas_id@8, __reserved@12, iova@16:8, length@24:8, out_phys@32:8
    }
    iommu_ioas_map_file(40, 8) { size@0, flags@4, ioas_id@8, fd@12, start@16:8, length@24:8, iova@32:8 }
    iommu_ioas_copy(40, 8) { size@0, flags@4, dst_ioas_id@8, src_ioas_id@12, length@16:8, dst_iova@24:8, src_iova@32:8 }
    iommu_ioas_unmap(24, 8) { size@0, ioas_id@4, iova@8:8, length@16:8 }
    iommu_option(24, 8) { size@0, option_id@4, op@8:2, __reserved@10:2, object_id@12, val64@16:8 }
    iommu_vfio_ioas(12, 4) { size@0, ioas_id@4, op@8:2, __reserved@10:2 }
    iommu_hwpt_vtd_s1(24, 8) { flags@0:8, pgtbl_addr@8:8, addr_width@16, __reserved@20 }
    iommu_hwpt_arm_smmuv3(16, 8) { ste@0:16 }
    iommu_hwpt_amd_guest(32, 8) { dte@0:32 }
    iommu_hwpt_alloc(48, 8) {
        size@0, flags@4, dev_id@8, pt_id@12, out_hwpt_id@16, __reserved@20, data_type@24, data_len@28, data_uptr@32:8,
        fault_id@40, __reserved2@44
    }
    iommu_hw_info_vtd(24, 8) { flags@0, __reserved@4, cap_reg@8:8, ecap_reg@16:8 }
    iommu_hw_info_arm_smmuv3(40, 4) { flags@0, __reserved@4, idr@8:24, iidr@32, aidr@36 }
    iommu_hw_info_tegra241_cmdqv(8, 4) { flags@0, version@4:1, log2vcmdqs@5:1, log2vsids@6:1, __reserved@7:1 }
    iommu_hw_info_amd(16, 8) { efr@0:8, efr2@8:8 }
    iommu_hw_info(40, 8) {
        size@0, flags@4, dev_id@8, data_len@12, data_uptr@16:8, in_data_type@24, out_max_pasid_log2@28:1,
        __reserved@29:3, out_capabilities@32:8
    }
    iommu_hwpt_set_dirty_tracking(16, 4) { size@0, flags@4, hwpt_id@8, __reserved@12 }
    iommu_hwpt_get_dirty_bitmap(48, 8) {
        size@0, hwpt_id@4, flags@8, __reserved@12, iova@16:8, length@24:8, page_size@32:8, data@40:8
    }
    iommu_hwpt_vtd_s1_invalidate(24, 8) { addr@0:8, npages@8:8, flags@16, __reserved@20 }
    iommu_viommu_arm_smmuv3_invalidate(16, 8) { cmd@0:16 }
    iommu_hwpt_invalidate(32, 8) {
        size@0, hwpt_id@4, data_uptr@8:8, data_type@16, entry_len@20, entry_num@24, __reserved@28
    }
    iommu_hwpt_pgfault(40, 8) {
        flags@0, dev_id@4, pasid@8, grpid@12, perm@16, __reserved@20, addr@24:8, length@32, cookie@36
    }
    iommu_hwpt_page_response(8, 4) { cookie@0, code@4 }
    iommu_fault_alloc(16, 4) { size@0, flags@4, out_fault_id@8, out_fault_fd@12 }
    iommu_viommu_tegra241_cmdqv(16, 8) { out_vintf_mmap_offset@0:8, out_vintf_mmap_length@8:8 }
    iommu_viommu_alloc(40, 8) {
        size@0, flags@4, type_@8, dev_id@12, hwpt_id@16, out_viommu_id@20, data_len@24, __reserved@28, data_uptr@32:8
    }
    iommu_vdevice_alloc(24, 8) { size@0, viommu_id@4, dev_id@8, out_vdevice_id@12, virt_id@16:8 }
    iommu_ioas_change_process(8, 4) { size@0, __reserved@4 }
    iommufd_vevent_header(8, 4) { flags@0, sequence@4 }
    iommu_vevent_arm_smmuv3(32, 8) { evt@0:32 }
    iommu_vevent_tegra241_cmdqv(16, 8) { lvcmdq_err_map@0:16 }
    iommu_veventq_alloc(32, 4) {
        size@0, flags@4, viommu_id@8, type_@12, veventq_depth@16, out_veventq_id@20, out_veventq_fd@24, __reserved@28
    }
    iommu_hw_queue_alloc(40, 8) {
        size@0, flags@4, viommu_id@8, type_@12, index@16, out_hw_queue_id@20, nesting_parent_iova@24:8, length@32:8
    }
}
