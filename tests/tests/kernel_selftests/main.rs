//! Counterparts of the kernel's own tests of iommufd, function by function and variant by variant.
//!
//! They go by what is said of each in words, and by the kernel's rules; nothing is translated. What the SDK can do is done
//! through the SDK; an act that the SDK forbids goes past it. `docs/kernel-selftests.md` has the list.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, but for what they have in common"
)]

#[macro_use]
mod variants;

mod change_process;
mod domains;
mod fail_nth;
mod iommufd;
mod iommufd_device_pasid;
mod iommufd_dirty_tracking;
mod iommufd_ioas;
mod iommufd_mock_domain;
mod iommufd_viommu;
mod part;
mod past;
mod vfio_compat_mock_domain;
