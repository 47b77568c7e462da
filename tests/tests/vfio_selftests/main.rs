//! Counterparts of the kernel's own tests of VFIO, program by program and function by function.
//!
//! They go by what is said of each in words, and by the kernel's rules; nothing is translated. What the SDK can do is done
//! through the SDK; an act that the SDK forbids goes past it. `docs/kernel-selftests.md` has the list.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are tests, but for what they have in common"
)]

#[macro_use]
#[path = "../kernel_selftests/variants.rs"]
mod variants;

mod modes;
mod vfio_dma_mapping_mmio_test;
mod vfio_dma_mapping_test;
mod vfio_iommufd_setup_test;
mod vfio_pci_device_init_perf_test;
mod vfio_pci_device_test;
mod vfio_pci_driver_test;
mod vfio_pci_sriov_uapi_test;
