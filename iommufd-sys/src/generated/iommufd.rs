pub const IOMMUFD_TYPE: u8 = 59u8;
pub const IOMMUFD_CMD_BASE: u32 = 128;
pub const IOMMUFD_CMD_DESTROY: u32 = 128;
pub const IOMMUFD_CMD_IOAS_ALLOC: u32 = 129;
pub const IOMMUFD_CMD_IOAS_ALLOW_IOVAS: u32 = 130;
pub const IOMMUFD_CMD_IOAS_COPY: u32 = 131;
pub const IOMMUFD_CMD_IOAS_IOVA_RANGES: u32 = 132;
pub const IOMMUFD_CMD_IOAS_MAP: u32 = 133;
pub const IOMMUFD_CMD_IOAS_UNMAP: u32 = 134;
pub const IOMMUFD_CMD_OPTION: u32 = 135;
pub const IOMMUFD_CMD_VFIO_IOAS: u32 = 136;
pub const IOMMUFD_CMD_HWPT_ALLOC: u32 = 137;
pub const IOMMUFD_CMD_GET_HW_INFO: u32 = 138;
pub const IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING: u32 = 139;
pub const IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP: u32 = 140;
pub const IOMMUFD_CMD_HWPT_INVALIDATE: u32 = 141;
pub const IOMMUFD_CMD_FAULT_QUEUE_ALLOC: u32 = 142;
pub const IOMMUFD_CMD_IOAS_MAP_FILE: u32 = 143;
pub const IOMMUFD_CMD_VIOMMU_ALLOC: u32 = 144;
pub const IOMMUFD_CMD_VDEVICE_ALLOC: u32 = 145;
pub const IOMMUFD_CMD_IOAS_CHANGE_PROCESS: u32 = 146;
pub const IOMMUFD_CMD_VEVENTQ_ALLOC: u32 = 147;
pub const IOMMUFD_CMD_HW_QUEUE_ALLOC: u32 = 148;
pub const IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA: u32 = 149;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_destroy {
    pub size: u32,
    pub id: u32,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_ioas_alloc {
    pub size: u32,
    pub flags: u32,
    pub out_ioas_id: u32,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_iova_range {
    pub start: u64,
    pub last: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_ioas_iova_ranges {
    pub size: u32,
    pub ioas_id: u32,
    pub num_iovas: u32,
    pub __reserved: u32,
    pub allowed_iovas: u64,
    pub out_iova_alignment: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_ioas_allow_iovas {
    pub size: u32,
    pub ioas_id: u32,
    pub num_iovas: u32,
    pub __reserved: u32,
    pub allowed_iovas: u64,
}
pub const IOMMU_IOAS_MAP_FIXED_IOVA: iommufd_ioas_map_flags = 1;
pub const IOMMU_IOAS_MAP_WRITEABLE: iommufd_ioas_map_flags = 2;
pub const IOMMU_IOAS_MAP_READABLE: iommufd_ioas_map_flags = 4;
pub type iommufd_ioas_map_flags = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_ioas_map {
    pub size: u32,
    pub flags: u32,
    pub ioas_id: u32,
    pub __reserved: u32,
    pub user_va: u64,
    pub length: u64,
    pub iova: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_ioas_noiommu_get_pa {
    pub size: u32,
    pub flags: u32,
    pub ioas_id: u32,
    pub __reserved: u32,
    pub iova: u64,
    pub length: u64,
    pub out_phys: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_ioas_map_file {
    pub size: u32,
    pub flags: u32,
    pub ioas_id: u32,
    pub fd: i32,
    pub start: u64,
    pub length: u64,
    pub iova: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_ioas_copy {
    pub size: u32,
    pub flags: u32,
    pub dst_ioas_id: u32,
    pub src_ioas_id: u32,
    pub length: u64,
    pub dst_iova: u64,
    pub src_iova: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_ioas_unmap {
    pub size: u32,
    pub ioas_id: u32,
    pub iova: u64,
    pub length: u64,
}
pub const IOMMU_OPTION_RLIMIT_MODE: iommufd_option = 0;
pub const IOMMU_OPTION_HUGE_PAGES: iommufd_option = 1;
pub type iommufd_option = u32;
pub const IOMMU_OPTION_OP_SET: iommufd_option_ops = 0;
pub const IOMMU_OPTION_OP_GET: iommufd_option_ops = 1;
pub type iommufd_option_ops = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_option {
    pub size: u32,
    pub option_id: u32,
    pub op: u16,
    pub __reserved: u16,
    pub object_id: u32,
    pub val64: u64,
}
pub const IOMMU_VFIO_IOAS_GET: iommufd_vfio_ioas_op = 0;
pub const IOMMU_VFIO_IOAS_SET: iommufd_vfio_ioas_op = 1;
pub const IOMMU_VFIO_IOAS_CLEAR: iommufd_vfio_ioas_op = 2;
pub type iommufd_vfio_ioas_op = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_vfio_ioas {
    pub size: u32,
    pub ioas_id: u32,
    pub op: u16,
    pub __reserved: u16,
}
pub const IOMMU_HWPT_ALLOC_NEST_PARENT: iommufd_hwpt_alloc_flags = 1;
pub const IOMMU_HWPT_ALLOC_DIRTY_TRACKING: iommufd_hwpt_alloc_flags = 2;
pub const IOMMU_HWPT_FAULT_ID_VALID: iommufd_hwpt_alloc_flags = 4;
pub const IOMMU_HWPT_ALLOC_PASID: iommufd_hwpt_alloc_flags = 8;
pub type iommufd_hwpt_alloc_flags = u32;
pub const IOMMU_VTD_S1_SRE: iommu_hwpt_vtd_s1_flags = 1;
pub const IOMMU_VTD_S1_EAFE: iommu_hwpt_vtd_s1_flags = 2;
pub const IOMMU_VTD_S1_WPE: iommu_hwpt_vtd_s1_flags = 4;
pub type iommu_hwpt_vtd_s1_flags = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_vtd_s1 {
    pub flags: u64,
    pub pgtbl_addr: u64,
    pub addr_width: u32,
    pub __reserved: u32,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_arm_smmuv3 {
    pub ste: [u64; 2usize],
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_amd_guest {
    pub dte: [u64; 4usize],
}
pub const IOMMU_HWPT_DATA_NONE: iommu_hwpt_data_type = 0;
pub const IOMMU_HWPT_DATA_VTD_S1: iommu_hwpt_data_type = 1;
pub const IOMMU_HWPT_DATA_ARM_SMMUV3: iommu_hwpt_data_type = 2;
pub const IOMMU_HWPT_DATA_AMD_GUEST: iommu_hwpt_data_type = 3;
pub type iommu_hwpt_data_type = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_alloc {
    pub size: u32,
    pub flags: u32,
    pub dev_id: u32,
    pub pt_id: u32,
    pub out_hwpt_id: u32,
    pub __reserved: u32,
    pub data_type: u32,
    pub data_len: u32,
    pub data_uptr: u64,
    pub fault_id: u32,
    pub __reserved2: u32,
}
pub const IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17: iommu_hw_info_vtd_flags = 1;
pub type iommu_hw_info_vtd_flags = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hw_info_vtd {
    pub flags: u32,
    pub __reserved: u32,
    pub cap_reg: u64,
    pub ecap_reg: u64,
}
pub const IOMMU_HW_INFO_ARM_SMMUV3_ERRATA_REPEAT_TLBI_CFGI: iommu_hw_info_arm_smmuv3_flags = 1;
pub type iommu_hw_info_arm_smmuv3_flags = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hw_info_arm_smmuv3 {
    pub flags: u32,
    pub __reserved: u32,
    pub idr: [u32; 6usize],
    pub iidr: u32,
    pub aidr: u32,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hw_info_tegra241_cmdqv {
    pub flags: u32,
    pub version: u8,
    pub log2vcmdqs: u8,
    pub log2vsids: u8,
    pub __reserved: u8,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hw_info_amd {
    pub efr: u64,
    pub efr2: u64,
}
pub const IOMMU_HW_INFO_TYPE_NONE: iommu_hw_info_type = 0;
pub const IOMMU_HW_INFO_TYPE_DEFAULT: iommu_hw_info_type = 0;
pub const IOMMU_HW_INFO_TYPE_INTEL_VTD: iommu_hw_info_type = 1;
pub const IOMMU_HW_INFO_TYPE_ARM_SMMUV3: iommu_hw_info_type = 2;
pub const IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV: iommu_hw_info_type = 3;
pub const IOMMU_HW_INFO_TYPE_AMD: iommu_hw_info_type = 4;
pub type iommu_hw_info_type = u32;
pub const IOMMU_HW_CAP_DIRTY_TRACKING: iommufd_hw_capabilities = 1;
pub const IOMMU_HW_CAP_PCI_PASID_EXEC: iommufd_hw_capabilities = 2;
pub const IOMMU_HW_CAP_PCI_PASID_PRIV: iommufd_hw_capabilities = 4;
pub const IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED: iommufd_hw_capabilities = 8;
pub type iommufd_hw_capabilities = u32;
pub const IOMMU_HW_INFO_FLAG_INPUT_TYPE: iommufd_hw_info_flags = 1;
pub type iommufd_hw_info_flags = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hw_info {
    pub size: u32,
    pub flags: u32,
    pub dev_id: u32,
    pub data_len: u32,
    pub data_uptr: u64,
    pub in_data_type: u32,
    pub out_max_pasid_log2: u8,
    pub __reserved: [u8; 3usize],
    pub out_capabilities: u64,
}
pub const IOMMU_HWPT_DIRTY_TRACKING_ENABLE: iommufd_hwpt_set_dirty_tracking_flags = 1;
pub type iommufd_hwpt_set_dirty_tracking_flags = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_set_dirty_tracking {
    pub size: u32,
    pub flags: u32,
    pub hwpt_id: u32,
    pub __reserved: u32,
}
pub const IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR: iommufd_hwpt_get_dirty_bitmap_flags = 1;
pub type iommufd_hwpt_get_dirty_bitmap_flags = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_get_dirty_bitmap {
    pub size: u32,
    pub hwpt_id: u32,
    pub flags: u32,
    pub __reserved: u32,
    pub iova: u64,
    pub length: u64,
    pub page_size: u64,
    pub data: u64,
}
pub const IOMMU_HWPT_INVALIDATE_DATA_VTD_S1: iommu_hwpt_invalidate_data_type = 0;
pub const IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3: iommu_hwpt_invalidate_data_type = 1;
pub type iommu_hwpt_invalidate_data_type = u32;
pub const IOMMU_VTD_INV_FLAGS_LEAF: iommu_hwpt_vtd_s1_invalidate_flags = 1;
pub type iommu_hwpt_vtd_s1_invalidate_flags = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_vtd_s1_invalidate {
    pub addr: u64,
    pub npages: u64,
    pub flags: u32,
    pub __reserved: u32,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_viommu_arm_smmuv3_invalidate {
    pub cmd: [u64; 2usize],
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_invalidate {
    pub size: u32,
    pub hwpt_id: u32,
    pub data_uptr: u64,
    pub data_type: u32,
    pub entry_len: u32,
    pub entry_num: u32,
    pub __reserved: u32,
}
pub const IOMMU_PGFAULT_FLAGS_PASID_VALID: iommu_hwpt_pgfault_flags = 1;
pub const IOMMU_PGFAULT_FLAGS_LAST_PAGE: iommu_hwpt_pgfault_flags = 2;
pub type iommu_hwpt_pgfault_flags = u32;
pub const IOMMU_PGFAULT_PERM_READ: iommu_hwpt_pgfault_perm = 1;
pub const IOMMU_PGFAULT_PERM_WRITE: iommu_hwpt_pgfault_perm = 2;
pub const IOMMU_PGFAULT_PERM_EXEC: iommu_hwpt_pgfault_perm = 4;
pub const IOMMU_PGFAULT_PERM_PRIV: iommu_hwpt_pgfault_perm = 8;
pub type iommu_hwpt_pgfault_perm = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_pgfault {
    pub flags: u32,
    pub dev_id: u32,
    pub pasid: u32,
    pub grpid: u32,
    pub perm: u32,
    pub __reserved: u32,
    pub addr: u64,
    pub length: u32,
    pub cookie: u32,
}
pub const IOMMUFD_PAGE_RESP_SUCCESS: iommufd_page_response_code = 0;
pub const IOMMUFD_PAGE_RESP_INVALID: iommufd_page_response_code = 1;
pub type iommufd_page_response_code = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hwpt_page_response {
    pub cookie: u32,
    pub code: u32,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_fault_alloc {
    pub size: u32,
    pub flags: u32,
    pub out_fault_id: u32,
    pub out_fault_fd: u32,
}
pub const IOMMU_VIOMMU_TYPE_DEFAULT: iommu_viommu_type = 0;
pub const IOMMU_VIOMMU_TYPE_ARM_SMMUV3: iommu_viommu_type = 1;
pub const IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV: iommu_viommu_type = 2;
pub type iommu_viommu_type = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_viommu_tegra241_cmdqv {
    pub out_vintf_mmap_offset: u64,
    pub out_vintf_mmap_length: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_viommu_alloc {
    pub size: u32,
    pub flags: u32,
    pub type_: u32,
    pub dev_id: u32,
    pub hwpt_id: u32,
    pub out_viommu_id: u32,
    pub data_len: u32,
    pub __reserved: u32,
    pub data_uptr: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_vdevice_alloc {
    pub size: u32,
    pub viommu_id: u32,
    pub dev_id: u32,
    pub out_vdevice_id: u32,
    pub virt_id: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_ioas_change_process {
    pub size: u32,
    pub __reserved: u32,
}
pub const IOMMU_VEVENTQ_FLAG_LOST_EVENTS: iommu_veventq_flag = 1;
pub type iommu_veventq_flag = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommufd_vevent_header {
    pub flags: u32,
    pub sequence: u32,
}
pub const IOMMU_VEVENTQ_TYPE_DEFAULT: iommu_veventq_type = 0;
pub const IOMMU_VEVENTQ_TYPE_ARM_SMMUV3: iommu_veventq_type = 1;
pub const IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV: iommu_veventq_type = 2;
pub type iommu_veventq_type = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_vevent_arm_smmuv3 {
    pub evt: [u64; 4usize],
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_vevent_tegra241_cmdqv {
    pub lvcmdq_err_map: [u64; 2usize],
}
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_veventq_alloc {
    pub size: u32,
    pub flags: u32,
    pub viommu_id: u32,
    pub type_: u32,
    pub veventq_depth: u32,
    pub out_veventq_id: u32,
    pub out_veventq_fd: u32,
    pub __reserved: u32,
}
pub const IOMMU_HW_QUEUE_TYPE_DEFAULT: iommu_hw_queue_type = 0;
pub const IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV: iommu_hw_queue_type = 1;
pub type iommu_hw_queue_type = u32;
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct iommu_hw_queue_alloc {
    pub size: u32,
    pub flags: u32,
    pub viommu_id: u32,
    pub type_: u32,
    pub index: u32,
    pub out_hw_queue_id: u32,
    pub nesting_parent_iova: u64,
    pub length: u64,
}
