//! The kernel's mock driver (`CONFIG_IOMMUFD_TEST`): devices, page tables and accesses with no hardware behind them.

pub mod abi;
mod access;
mod call;
mod device;
mod dmabuf;
pub mod nesting;
mod queue;

pub use access::{MockAccess, Pin};
pub use call::{
    BatchLimit, add_reserved, check_dev_cache, check_iotlb, check_map, check_pins, devices,
    mock_domain, mock_domain_replace, occupy, set_dirty, trigger_iopf, trigger_vevent,
};
pub use device::{MockDevice, MockOptions, refusal};
pub use dmabuf::MockDmabuf;
pub use queue::MockQueue;

/// The smallest page that the mock's IOMMU maps.
pub const PAGE: u64 = 2048;

/// The first and the last address that the mock's IOMMU translates.
pub const APERTURE: (u64, u64) = (0x0100_0000, 0x7fff_ffff);

/// The type of the mock's hardware information.
#[must_use]
pub fn hw_info_type() -> iommufd::HwInfoType {
    iommufd::HwInfoType::new(abi::HW_INFO_TYPE_SELFTEST).unwrap()
}
