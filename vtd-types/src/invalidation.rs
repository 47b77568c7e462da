//! The invalidations that Linux takes from user space for a nested table.

mod refused;
mod tables;
#[cfg(test)]
mod tests;

pub use refused::{BadRange, NotForwarded, NotForwardedReason};
pub use tables::TableScope;

use core::fmt;
use core::num::NonZeroU64;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, KnownLayout};

use crate::{Descriptor, InputAddress, IotlbScope, PageSelection};

/// An invalidation of a nested table (`struct iommu_hwpt_vtd_s1_invalidate`), as the bytes that the
/// kernel reads.
///
/// It goes to one table, not to the unit: which of a guest's tables a descriptor is about is
/// [`Descriptor::tables`]. The kernel forgets the table's translations in the IOTLB for every device
/// and PASID that it is attached to, and has the devices forget theirs: a guest's descriptors for
/// device-TLBs are not forwarded. It rounds a range out to a power of two. Beyond the last address
/// it does not look: this type never goes there.
///
/// # Invariants
/// The address is a multiple of 4 KiB, the range is not empty and ends at the last address at most;
/// or everything is meant, as address 0 and as many pages as a number can be. No flag but `LEAF` is
/// set, and what is reserved is 0.
///
/// ```
/// use vtd_types::{Descriptor, DescriptorFeatures, Invalidation, Pasid, TableScope};
///
/// // A guest's p_iotlb_inv_dsc: domain 7, PASID 5, AM 3 around 0x1234_5000, IH.
/// let words = [0x0000_0005_0007_0036, 0x1234_5043, 0, 0];
/// let descriptor = Descriptor::decode(words, &DescriptorFeatures::SCALABLE)?;
/// let invalidation = Invalidation::from_descriptor(&descriptor)?;
/// assert_eq!(invalidation.address().get(), 0x1234_0000);
/// assert_eq!((invalidation.npages(), invalidation.leaf()), (8, true));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[doc(alias = "iommu_hwpt_vtd_s1_invalidate")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Invalidation {
    addr: U64,
    npages: U64,
    flags: U32,
    reserved: U32,
}

/// How many pages of 4 KiB there are addresses for.
const ALL_PAGES: u64 = 1 << 52;

impl Invalidation {
    /// `IOMMU_VTD_INV_FLAGS_LEAF`: what a walk read of tables may be kept.
    pub const LEAF: u32 = 1 << 0;

    /// Forget everything of the table.
    pub const ALL: Self = Self {
        addr: U64::new(0),
        npages: U64::new(u64::MAX),
        flags: U32::new(0),
        reserved: U32::new(0),
    };

    /// Forget the translations of these pages of 4 KiB. `leaf`: what a walk read of tables may be
    /// kept.
    ///
    /// All 2^52 pages are [`Self::ALL`], whatever `leaf` is.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    ///
    /// use vtd_types::{BadRange, InputAddress, Invalidation};
    ///
    /// let pages = NonZeroU64::new(3).unwrap();
    /// let last = InputAddress::new(0xffff_ffff_ffff_d000);
    /// assert!(Invalidation::pages(last, pages, true).is_ok());
    /// let beyond = InputAddress::new(0xffff_ffff_ffff_e000);
    /// assert_eq!(
    ///     Invalidation::pages(beyond, pages, true),
    ///     Err(BadRange::Beyond { address: beyond, pages }),
    /// );
    /// ```
    ///
    /// # Errors
    /// The address is not a multiple of 4 KiB, which the kernel refuses (EINVAL), or the range goes
    /// beyond the last address, which it does not notice.
    pub const fn pages(
        address: InputAddress,
        pages: NonZeroU64,
        leaf: bool,
    ) -> Result<Self, BadRange> {
        if address.get() & 0xfff != 0 {
            return Err(BadRange::Misaligned(address));
        }
        let rest = ALL_PAGES.saturating_sub(address.get() >> 12);
        if pages.get() > rest {
            return Err(BadRange::Beyond { address, pages });
        }
        if pages.get() == ALL_PAGES {
            return Ok(Self::ALL);
        }
        Ok(Self {
            addr: U64::new(address.get()),
            npages: U64::new(pages.get()),
            flags: U32::new(if leaf { Self::LEAF } else { 0 }),
            reserved: U32::new(0),
        })
    }

    /// Forget the translations that a descriptor selects.
    #[must_use]
    pub const fn selection(selection: &PageSelection) -> Self {
        let Some(pages) = NonZeroU64::new(selection.mask().pages()) else {
            return Self::ALL;
        };
        // The range is aligned to its size: it does not go beyond the last address.
        match Self::pages(selection.address(), pages, selection.leaf()) {
            Ok(invalidation) => invalidation,
            Err(_) => Self::ALL,
        }
    }

    /// What the kernel takes for a guest's descriptor, of each table that it is about.
    ///
    /// # Errors
    /// The kernel takes nothing for it, or need not. [`NotForwarded`] says what to do.
    pub const fn from_descriptor(descriptor: &Descriptor) -> Result<Self, NotForwarded> {
        let reason = match *descriptor {
            Descriptor::PasidIotlb { pages, .. } => {
                return Ok(match pages {
                    Some(pages) => Self::selection(&pages),
                    None => Self::ALL,
                });
            }
            Descriptor::Iotlb {
                scope: IotlbScope::Global | IotlbScope::Domain(_),
                ..
            } => return Ok(Self::ALL),
            Descriptor::Iotlb {
                scope: IotlbScope::Pages { .. },
                ..
            } => NotForwardedReason::SecondStage,
            Descriptor::DeviceTlb { .. } | Descriptor::PasidDeviceTlb { .. } => {
                NotForwardedReason::DeviceTlb
            }
            Descriptor::ContextCache(_)
            | Descriptor::PasidCache(_)
            | Descriptor::InterruptEntryCache(_)
            | Descriptor::Wait { .. }
            | Descriptor::PageGroupResponse { .. } => NotForwardedReason::Emulated,
        };
        Err(NotForwarded {
            descriptor: *descriptor,
            reason,
        })
    }

    /// The first address: `addr`.
    #[must_use]
    pub const fn address(&self) -> InputAddress {
        InputAddress::new(self.addr.get())
    }

    /// How many pages of 4 KiB, or [`u64::MAX`] for everything: `npages`.
    #[must_use]
    pub const fn npages(&self) -> u64 {
        self.npages.get()
    }

    /// The flags: [`Self::LEAF`] or none.
    #[must_use]
    pub const fn flags(&self) -> u32 {
        self.flags.get()
    }

    /// Whether what a walk read of tables may be kept.
    #[must_use]
    pub const fn leaf(&self) -> bool {
        self.flags() & Self::LEAF != 0
    }

    /// Whether everything is forgotten.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.npages() == u64::MAX
    }
}

impl fmt::Debug for Invalidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("Invalidation::ALL");
        }
        f.debug_struct("Invalidation")
            .field("address", &self.address())
            .field("npages", &self.npages())
            .field("leaf", &self.leaf())
            .finish()
    }
}
