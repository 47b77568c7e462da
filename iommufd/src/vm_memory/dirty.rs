//! The last read of guest memory that is then unmapped.

use ::vm_memory::GuestAddress;

use super::dma::GuestDma;
use super::error::GuestDmaError;
use super::range::GuestRange;
use super::unmap::Unmap;
use crate::address::IovaRange;
use crate::dirty::DirtyBitmap;
use crate::error::{Error, Refused};
use crate::mapping::Mapping;

/// Dirty tracking: what devices have written to a block goes with its mapping, unless it is read
/// before.
///
/// A bitmap for a guest's memory has the guest's addresses: `IovaRange::from(range)` is what a
/// [`DirtyBitmap`] of a [`GuestRange`] covers.
///
/// ```no_run
/// # fn example(
/// #     dma: &iommufd::vm_memory::GuestDma,
/// #     ram: iommufd::vm_memory::GuestRange,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use iommufd::{DirtyBitmap, Granule};
///
/// let mut dirty = DirtyBitmap::new(ram.into(), Granule::KIB_4)?;
/// // The guest gives up a block while it is migrated.
/// dma.unmap_block_reading_dirty(ram.start(), &mut dirty)?;
/// # Ok(())
/// # }
/// ```
impl GuestDma {
    /// As [`unmap_block`](Self::unmap_block), and reads before what devices have written to the
    /// block, through all page tables of the address space that are tracked.
    ///
    /// What a device writes between the read and the unmap is lost: see
    /// [`Mapping::unmap_reading_dirty`].
    ///
    /// # Errors
    /// As for [`unmap_block`](Self::unmap_block). [`GuestDmaError::UnmapRefused`] has the reasons of
    /// [`Mapping::unmap_reading_dirty`] too: [`Error::NotTracked`], [`Error::NotCovered`],
    /// [`Error::NotRead`]. The block is mapped then, and its dirty bits are still in the page
    /// tables; bits that were read are set in `bitmap` nevertheless.
    ///
    /// # System calls
    /// `IOMMU_HWPT_GET_DIRTY_BITMAP` for each table, and `IOMMU_IOAS_UNMAP`.
    ///
    /// Since Linux 6.7.
    #[doc(alias = "IOMMU_HWPT_GET_DIRTY_BITMAP")]
    pub fn unmap_block_reading_dirty<W: AsMut<[u64]>>(
        &self,
        at: GuestAddress,
        bitmap: &mut DirtyBitmap<W>,
    ) -> Result<GuestRange, GuestDmaError> {
        self.unmap_block_by(at, &mut ReadingDirty { bitmap })
    }

    /// As [`remove_region`](Self::remove_region), and reads each block before it is unmapped.
    ///
    /// Also if the region stays nothing is lost that was written before: the bits of the blocks
    /// that were unmapped and mapped again are set in `bitmap`, and those of the others are still
    /// in the page tables. So keep `bitmap` whatever the result. What a device writes to a block
    /// between its read and its unmap is lost: see [`Mapping::unmap_reading_dirty`].
    ///
    /// # Errors
    /// As for [`remove_region`](Self::remove_region). [`GuestDmaError::UnmapRefused`] has the
    /// reasons of [`Mapping::unmap_reading_dirty`] too: [`Error::NotTracked`] and
    /// [`Error::NotCovered`], if `bitmap` does not cover all that is mapped of the region, are found
    /// before anything is unmapped; [`Error::NotRead`].
    ///
    /// # System calls
    /// For each block `IOMMU_HWPT_GET_DIRTY_BITMAP` for each table, and `IOMMU_IOAS_UNMAP`.
    ///
    /// Since Linux 6.7.
    #[doc(alias = "IOMMU_HWPT_GET_DIRTY_BITMAP")]
    pub fn remove_region_reading_dirty<W: AsMut<[u64]>>(
        &self,
        start: GuestAddress,
        bitmap: &mut DirtyBitmap<W>,
    ) -> Result<(), GuestDmaError> {
        self.remove_region_by(start, &mut ReadingDirty { bitmap })
    }

    /// As [`unmap_all`](Self::unmap_all), and reads each block before it is unmapped.
    ///
    /// # Errors
    /// As for [`unmap_all`](Self::unmap_all). A block is still mapped also for the reasons of
    /// [`Mapping::unmap_reading_dirty`]: [`Error::NotTracked`], [`Error::NotCovered`],
    /// [`Error::NotRead`]. Its dirty bits are still in the page tables.
    ///
    /// # System calls
    /// For each block `IOMMU_HWPT_GET_DIRTY_BITMAP` for each table, and `IOMMU_IOAS_UNMAP`.
    ///
    /// Since Linux 6.7.
    #[doc(alias = "IOMMU_HWPT_GET_DIRTY_BITMAP")]
    #[expect(clippy::result_large_err, reason = "it gives back what it was given")]
    pub fn unmap_all_reading_dirty<W: AsMut<[u64]>>(
        self,
        bitmap: &mut DirtyBitmap<W>,
    ) -> Result<(), Refused<Self, GuestDmaError>> {
        self.unmap_all_by(&mut ReadingDirty { bitmap })
    }
}

/// What is dirty goes into the bitmap first.
struct ReadingDirty<'b, W> {
    bitmap: &'b mut DirtyBitmap<W>,
}

impl<W: AsMut<[u64]>> Unmap for ReadingDirty<'_, W> {
    fn check(&self, range: IovaRange) -> Result<(), Error> {
        self.bitmap.must_cover(range)
    }

    fn unmap(&mut self, mapping: Mapping) -> Result<(), Refused<Mapping>> {
        mapping.unmap_reading_dirty(self.bitmap)
    }
}
