//! AMD's IOMMU: what of it a guest can be offered, and a guest's device table entry.
//!
//! The guest has a device table, tables of guest page tables (GCR3) by PASID, and page tables in its
//! memory. What the kernel takes of a device table entry is a [`GuestDte`]:
//!
//! ```
//! use iommufd::amd::{BadGuestDte, Dte, Gcr3Levels, GuestDte};
//!
//! // V, TV, GV, GIOV, IR, IW, two levels of GCR3 tables at 0x1_2345_6000, domain 3.
//! let entry = Dte::from_words([0x79c0_0000_0000_0003, 0x0000_1000_468a_0003, 0, 0]);
//! let dte = GuestDte::from_entry(&entry)?;
//! assert_eq!(dte.root().get(), 0x1_2345_6000);
//! assert_eq!((dte.gcr3_levels(), dte.domain()), (Gcr3Levels::Two, 3));
//! // What is nested has no host page table: that is the parent's.
//! let refused = GuestDte::from_entry(&entry.with_mode(4));
//! assert_eq!(refused, Err(BadGuestDte::HostTable));
//! # Ok::<(), BadGuestDte>(())
//! ```
//!
//! Linux 7.3 has the structure in its header, and makes no nested table of it: neither on a
//! [`NestParent`] nor on a virtual IOMMU, of which it has no type for AMD. So there is no format here
//! for a [`NestedHwPt`], and [`probe_nesting`] says what a kernel does.
//!
//! Names of fields are those of AMD's publication 48882.

// UNSAFETY: vouches for what the kernel takes an entry for.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

#[cfg(test)]
mod bytes;
mod dte;
mod efr;

use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

pub use hardware_records::Reserved;

pub use self::dte::{BadGuestDte, Dte, Gcr3Levels, GuestDte, GuestLevels};
pub use self::efr::{Efr, Efr2};
use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::format::{Format, InParent};
use crate::hw_info::{HwInfoType, VendorInfo};
use crate::nest_parent::NestParent;
use crate::nested::NestedHwPt;

/// Finds out whether this kernel nests a guest's tables on the AMD IOMMU behind `device`, by having it
/// make one in `parent`, and destroy it. To the device nothing happens.
///
/// A kernel that nests them through a virtual IOMMU alone would have a type for it, which this version
/// of the crate does not know: to it, that is a no.
///
/// # Errors
/// [`Error::NestingNotOffered`]: it does not, as Linux 7.3; [`Error::HwInfoNotOffered`], before it is
/// asked: the device is behind no AMD IOMMU; [`Error::LacksCapability`], before it is asked: the IOMMU
/// has not what nesting takes; else as for [`NestedHwPt::new`], and for its destruction.
pub fn probe_nesting(parent: &NestParent, device: &Device) -> Result<()> {
    match NestedHwPt::<Probe>::new(parent, device, &GuestDte::SIMPLEST) {
        Ok(table) => table.try_destroy().map_err(Refused::into_error),
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => Err(Error::NestingNotOffered {
            iommu: HwInfoType::AMD,
        }),
        Err(error) => Err(error),
    }
}

/// A guest's tables, as [`probe_nesting`] asks for one.
#[derive(Debug, Clone, Copy)]
enum Probe {}

// SAFETY: the kernel takes 32 bytes, numbers, for this type, or refuses it. The addresses in them are
// guest physical ones. Of invalidations it knows none, and is sent none.
unsafe impl Format for Probe {
    type NestsOn = InParent;
    type Config = GuestDte;
    const CONFIG_TYPE: u32 = sys::IOMMU_HWPT_DATA_AMD_GUEST;
    type Invalidation = ();
    const INVALIDATION_TYPE: u32 = u32::MAX;
    const COUNT_IS_EXACT: bool = false;

    fn fits(config: &GuestDte, device: &Device) -> Result<()> {
        match &device.known()?.vendor {
            VendorInfo::Amd(amd) => amd.fits(config),
            _ => Err(Error::HwInfoNotOffered {
                kind: HwInfoType::AMD,
            }),
        }
    }
}
