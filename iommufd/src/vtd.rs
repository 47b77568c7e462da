//! Intel's VT-d: a guest's own first stage, by the structures of `vtd-types`.
//!
//! A guest in scalable mode has a PASID table for each device, and page tables of its own that the
//! entries lead to; the hardware walks these. A VMM does this when the guest has written the entry of
//! a PASID, and says so by a descriptor in its invalidation queue (`pc_inv_dsc`):
//!
//! ```no_run
//! # fn example(
//! #     ioas: &iommufd::Ioas,
//! #     device: &iommufd::Device,
//! #     guests_entry: vtd_types::PasidEntry,
//! #     guests_descriptor: vtd_types::Descriptor,
//! #     features: &vtd_types::Features,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use iommufd::vtd::{Invalidation, NestedPasidEntry, Vtd};
//! use iommufd::{NestParent, NestedHwPt, Pasid, PasidSlot};
//! use vtd_types::NotNested;
//!
//! // The address space has the guest's memory, by guest physical address: all of it to be written.
//! let parent = NestParent::builder(ioas, device).pasid(true).allocate()?;
//! // Requests without a PASID: the guest has its device in pass-through.
//! let attachment = device.attach(&parent)?;
//! # let guests_pasid = vtd_types::Pasid::new(5).ok_or("twenty bits")?;
//! let pasid = Pasid::new(guests_pasid.get()).ok_or("PASID 0 is the device itself")?;
//! let mut slot = PasidSlot::new(device, pasid);
//!
//! // The guest has written the entry, or has changed or cleared it.
//! match NestedPasidEntry::from_entry(&guests_entry, features) {
//!     Ok(config) => {
//!         let nested = NestedHwPt::<Vtd>::builder(&parent, device, &config);
//!         let nested = nested.pasid(true).allocate()?;
//!         slot.set(&nested)?;
//!
//!         // The guest has changed a page table, and says so by p_iotlb_inv_dsc.
//!         let invalidation = Invalidation::from_descriptor(&guests_descriptor)?;
//!         nested.invalidate(&[invalidation])?;
//!     }
//!     Err(NotNested::PassThrough) => slot.set(&parent)?,
//!     // Requests are blocked.
//!     Err(NotNested::Bad(_)) => slot.clear()?,
//!     Err(other) => return Err(other.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What a guest can be offered says [`HostCapabilities::offer`](vtd_types::HostCapabilities::offer),
//! of [`VtdInfo::host`](crate::VtdInfo::host). A table that asks for more is refused, with the name of
//! what is missing ([`Error::LacksCapability`](crate::Error::LacksCapability)); the kernel would make
//! it, and refuse the attach.
//!
//! The hardware tags what it caches with a domain of the host's, one for each table: what is left of
//! one table is never found by another, and when a table is detached from a PASID the kernel
//! invalidates what was cached of it. So a guest's `DID` is the VMM's business alone, to find the
//! tables that a descriptor is about ([`Descriptor::tables`](vtd_types::Descriptor::tables)).
//!
//! There is no virtual IOMMU to make: Linux has none for VT-d, and so it reports no events. Faults
//! that cannot be repaired it writes to the host's log; page requests come to a
//! [`FaultQueue`](crate::FaultQueue) as with any table.
//!
//! A VMM that emulates the whole unit need not do this by hand: the [`relay`] takes the guest's
//! descriptors and registers, and does it.
//!
//! The kernel offers it where `ECAP_REG.NEST` is set and scalable mode is switched on
//! (`intel_iommu=sm_on`). Since Linux 6.7; for PASIDs since 6.15.

// UNSAFETY: vouches for what the kernel takes these structures for.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

#[cfg(test)]
mod bytes;
pub mod relay;

use iommufd_sys::iommufd as sys;

pub use vtd_types::{Invalidation, NestedPasidEntry};

use crate::device::Device;
use crate::error::Result;
use crate::format::{Format, InParent};
use crate::hw_info::VendorInfo;

/// The format of VT-d's structures.
#[derive(Debug, Clone, Copy)]
pub enum Vtd {}

// SAFETY: the kernel takes 24 bytes each, numbers, for these types. The addresses in them are guest
// physical ones, and input addresses of the unit.
unsafe impl Format for Vtd {
    type NestsOn = InParent;
    type Config = NestedPasidEntry;
    const CONFIG_TYPE: u32 = sys::IOMMU_HWPT_DATA_VTD_S1;
    type Invalidation = Invalidation;
    const INVALIDATION_TYPE: u32 = sys::IOMMU_HWPT_INVALIDATE_DATA_VTD_S1;
    const COUNT_IS_EXACT: bool = true;

    /// Of another vendor's IOMMU the kernel says by itself that it does not nest this.
    fn fits(config: &NestedPasidEntry, device: &Device) -> Result<()> {
        match &device.known()?.vendor {
            VendorInfo::Vtd(vtd) => vtd.fits(config),
            _ => Ok(()),
        }
    }
}
