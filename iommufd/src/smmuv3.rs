//! Arm's SMMUv3: a guest's own stage 1, by the structures of `smmuv3-types`.
//!
//! The guest has a stream table, context descriptors and page tables in its memory; the hardware
//! walks them. A VMM does this for a device behind the guest's SMMU:
//!
//! ```no_run
//! # fn example(
//! #     ioas: &iommufd::Ioas,
//! #     device: &iommufd::Device,
//! #     guests_entry: smmuv3_types::Ste,
//! #     features: &smmuv3_types::Features,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use iommufd::smmuv3::{EventRecord, Smmuv3, StaleAsids};
//! use iommufd::{NestParent, NestedHwPt, VDevice, VEvent, Viommu};
//! use smmuv3_types::{Asid, Invalidation, StreamId};
//!
//! // The address space has the guest's memory, by guest physical address.
//! let parent = NestParent::new(ioas, device)?;
//! let (smmu, mut events) = Viommu::<Smmuv3>::with_events::<EventRecord>(&parent, device, 512)?;
//! // The guest knows the device as stream 8.
//! let vdevice = VDevice::new(&smmu, device, StreamId::new(8))?;
//!
//! // The guest has written the entry of that stream, and says so by CFGI_STE.
//! let entry = guests_entry.reduce(features).nested();
//! // No fault queue: nothing must stall.
//! let entry = smmu.demands().without_stalls(&entry);
//! let nested = NestedHwPt::new(&smmu, device, &entry)?;
//! let attachment = vdevice.attach(&nested, StaleAsids::GuestInvalidates)?;
//!
//! // The guest has changed a page table, and says so by TLBI_NH_ASID.
//! smmu.invalidate(&[Invalidation::tlbi_nh_asid(Asid::new(1), smmu.demands().limits())?])?;
//!
//! for event in events.read()? {
//!     if let VEvent::Event(record) = event {
//!         println!("for the guest's event queue: {record:?}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The kernel takes part in what is in the tables only so far: entries that are not valid, or abort,
//! make no event, so a VMM that finds one makes the guest's `C_BAD_STE` itself
//! ([`Ste::reduce`](smmuv3_types::Ste::reduce) says when).
//!
//! Stalls: where the host's SMMU has both models, a context descriptor in the guest's memory has
//! faults stall (`CD.S`), whether or not anybody hears of them. So a table without a
//! [`FaultQueue`](crate::FaultQueue) is made of an entry
//! [`without_stalls`](Smmuv3Demands::without_stalls), and a table with one is only for a device that
//! can stall: of others a guest could have transactions stall that nothing ends, and the kernel warn
//! of it (Linux 7.3).
//!
//! ATS: an entry that turns it on is only for a device that has it, and so is `CMD_ATC_INV`: the
//! host's queue waits for the device's answer.
//!
//! A VMM that emulates the whole SMMU need not do this by hand: the [`relay`] takes the guest's
//! commands and registers, and does it.
//!
//! MSIs: the kernel has a device send them to an address in [`MSI_WINDOW`], whatever address the
//! guest has given it. Behind the guest's stage 1 that is an input address, which the guest's tables
//! translate to the same address of stage 2.
//!
//! The kernel offers it only for devices whose accesses are always coherent (on ACPI, those whose
//! root complex says `CANWBS`). Since Linux 6.13.

// UNSAFETY: vouches for what the kernel takes these structures for.
#![expect(unsafe_code, reason = "implements unsafe traits")]

#[cfg(test)]
mod bytes;
mod demands;
pub mod relay;
mod stale;
mod tegra241;

use iommufd_sys::iommufd as sys;

pub use smmuv3_types::{EventRecord, Invalidation, NestedSte, StreamId};

pub use self::demands::Smmuv3Demands;
pub use self::stale::StaleAsids;
pub use self::tegra241::{Tegra241Cmdqv, VcmdqErrors, VintfPage};
use crate::address::{Iova, IovaRange};
use crate::device::Device;
use crate::error::Result;
use crate::format::{Event, Format, InViommu, Reports, ViommuKind};

/// Where devices find the interrupt controller, on every Arm machine: Linux maps its pages there as
/// devices come to need them. The range is none of [`Ioas::iova_ranges`](crate::Ioas::iova_ranges)
/// of an address space with such a device, and is not for the memory of a guest.
///
/// A guest whose stage 1 translates its devices' MSIs maps the window to itself. A VMM tells it so
/// by a reserved memory range in the IORT (RMR), or has the guest's interrupt controller there.
pub const MSI_WINDOW: IovaRange = match IovaRange::new(Iova::new(0x800_0000), Iova::new(0x80f_ffff))
{
    Some(range) => range,
    None => IovaRange::ALL,
};

/// The format of SMMUv3's structures, and the virtual SMMU that takes them.
#[derive(Debug, Clone, Copy)]
pub enum Smmuv3 {}

// SAFETY: the kernel takes two words of a stream table entry and two words of a command for these
// types. The addresses in them are guest physical ones, and input addresses of the SMMU.
unsafe impl Format for Smmuv3 {
    type NestsOn = InViommu;
    type Config = NestedSte;
    const CONFIG_TYPE: u32 = sys::IOMMU_HWPT_DATA_ARM_SMMUV3;
    type Invalidation = Invalidation;
    const INVALIDATION_TYPE: u32 = sys::IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3;
    // The driver puts them into its queue in batches, and counts what it has accepted.
    const COUNT_IS_EXACT: bool = false;
    // It copies all of a call into memory that is contiguous: 64 KiB of it, where the 8 MiB of
    // as many as can be would be refused.
    const MOST_IN_A_CALL: usize = 1 << 12;
}

// SAFETY: the kernel takes no data.
unsafe impl ViommuKind for Smmuv3 {
    type Format = Self;
    const TYPE: u32 = sys::IOMMU_VIOMMU_TYPE_ARM_SMMUV3;
    type Data = ();
    type VirtualId = StreamId;
    type Stale = StaleAsids;
    type Demands = Smmuv3Demands;

    fn stale(stale: &StaleAsids, demands: &Smmuv3Demands) -> Vec<Invalidation> {
        stale.invalidations(demands.limits())
    }

    fn demands(device: &Device) -> Result<Smmuv3Demands> {
        Ok(Smmuv3Demands::of(&device.vendor_info()?))
    }
}

impl Event for EventRecord {
    const QUEUE_TYPE: u32 = sys::IOMMU_VEVENTQ_TYPE_ARM_SMMUV3;
}

impl Reports<EventRecord> for Smmuv3 {}
