//! Dirty tracking: what devices have written, as the IOMMU records it in its page tables.

use std::fmt;
use std::sync::Arc;

use self::read::Then;
use crate::error::{Error, Refused, Result};
use crate::hwpt::HwPt;
use crate::ioas::Ioas;
use crate::nest_parent::NestParent;
use crate::paging::PagingTable;

mod bitmap;
mod bits;
mod device;
mod granule;
#[cfg(test)]
mod lcg;
mod read;
mod runs;
mod scratch;
mod tracked;
mod unmap;

pub(crate) use bitmap::View;
pub use bitmap::{DirtyBitmap, DirtyRuns};
pub use device::DeviceDirty;
pub use granule::Granule;
pub(crate) use tracked::{Tracked, TrackedTables};

/// The tracking of one page table: while it lives, the IOMMU records which pages devices write.
///
/// It is made by [`HwPt::track_dirty`] or [`NestParent::track_dirty`], of which there is one at a
/// time. It begins with nothing dirty, whatever was written before; so first track, then copy the
/// memory, then read what has become dirty meanwhile, copy that, and so on.
///
/// What is dirty is read into a [`DirtyBitmap`], which gathers from as many tables as there are. A
/// page is only as small as the entry of the page table in which it is: one write can make 2 MiB or
/// 1 GiB dirty, where memory is mapped by large pages. To know better, have the address space
/// mapped by small ones: [`IoasBuilder::huge_pages`](crate::IoasBuilder::huge_pages).
///
/// The last read before an unmap is [`Mapping::unmap_reading_dirty`] or
/// [`Ioas::unmap_range_reading_dirty`]. What is unmapped otherwise takes its dirty bits along. What
/// is written past the page table is not recorded: by the CPU, by an emulated (mediated) device, or
/// by a device that is attached to another table of the same memory.
///
/// It holds its page table. Dropping it stops the tracking; [`stop`](Self::stop) does the same, and
/// tells.
///
/// # System calls
/// `IOMMU_HWPT_SET_DIRTY_TRACKING` and `IOMMU_HWPT_GET_DIRTY_BITMAP`; `mmap` when a read needs more
/// room than any before.
///
/// Since Linux 6.7.
///
/// ```no_run
/// # fn example(hwpt: &iommufd::HwPt, ram: iommufd::IovaRange) -> iommufd::Result<()> {
/// use iommufd::{DirtyBitmap, Granule};
///
/// let tracking = hwpt.track_dirty()?;
/// let mut bitmap = DirtyBitmap::new(ram, Granule::KIB_4)?;
/// // Copy all of the memory, and then, again and again, what has been written since:
/// tracking.read_and_clear(&mut bitmap)?;
/// for run in bitmap.runs() {
///     println!("copy {run} once more");
/// }
/// bitmap.clear();
/// // With the devices at rest:
/// tracking.read_and_clear(&mut bitmap)?;
/// tracking.stop()?;
/// # Ok(())
/// # }
/// ```
///
/// # Invariants
/// `tracked` is among the tracked tables of its address space until the tracking is over.
///
/// [`Mapping::unmap_reading_dirty`]: crate::Mapping::unmap_reading_dirty
#[must_use = "dropping it stops the tracking"]
#[doc(alias = "IOMMU_HWPT_SET_DIRTY_TRACKING")]
pub struct DirtyTracking {
    tracked: Arc<Tracked>,
    over: bool,
}

impl DirtyTracking {
    fn start(table: &Arc<PagingTable>) -> Result<Self> {
        // Before the lock of the tables.
        table.iommufd().check_process()?;
        let tracked = Tracked::claim(table)?;
        match tracked.enable(true) {
            Ok(()) => Ok(Self {
                tracked,
                over: false,
            }),
            Err(error) => {
                tracked.release();
                Err(error)
            }
        }
    }

    /// Reads what has become dirty since the last read, or since the tracking began, and makes it
    /// clean.
    ///
    /// It is read for all that is mapped in the bitmap's range now. Holes are no matter. Bits are
    /// set in `bitmap`, and none cleared. Maps and unmaps of the address space wait for the single
    /// ioctls.
    ///
    /// # Errors
    /// [`Error::NotCovered`], before anything is read unless it was mapped meanwhile: a mapping lies
    /// in the bitmap's range only in part. The kernel would take the dirty bits of large pages at
    /// the edge, and not tell. [`Error::NotRead`] says which range the kernel refused to read. What
    /// was read and cleared before it is in `bitmap`: nothing is lost by trying again. `ENOMEM`:
    /// there is no memory to read into. [`Error::Forked`].
    #[doc(alias = "IOMMU_HWPT_GET_DIRTY_BITMAP")]
    pub fn read_and_clear<B: AsMut<[u64]>>(&self, bitmap: &mut DirtyBitmap<B>) -> Result<()> {
        self.tracked.read(&mut bitmap.view(), Then::Clear)
    }

    /// Reads what has become dirty, and leaves it dirty.
    ///
    /// It is cheaper than [`read_and_clear`](Self::read_and_clear), as no IOMMU has to forget
    /// anything. Otherwise it is the same.
    ///
    /// # Errors
    /// As for [`read_and_clear`](Self::read_and_clear).
    #[doc(alias = "IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR")]
    pub fn read<B: AsMut<[u64]>>(&self, bitmap: &mut DirtyBitmap<B>) -> Result<()> {
        self.tracked.read(&mut bitmap.view(), Then::Keep)
    }

    /// Stops the tracking.
    ///
    /// # Errors
    /// The kernel's refusal, with the tracking as it was; [`Error::Forked`].
    pub fn stop(mut self) -> Result<(), Refused<Self>> {
        match self.end() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// The address space of the page table.
    #[must_use]
    pub fn ioas(&self) -> &Ioas {
        self.tracked.table.ioas()
    }

    fn end(&mut self) -> Result<()> {
        if !self.over {
            self.tracked.enable(false)?;
            self.over = true;
            self.tracked.release();
        }
        Ok(())
    }
}

impl Drop for DirtyTracking {
    fn drop(&mut self) {
        match self.end() {
            Ok(()) | Err(Error::Forked) => {}
            Err(error) => {
                // The kernel goes on recording; that does no harm, and another guard can begin.
                self.tracked.release();
                let context = self.tracked.table.iommufd().context();
                context.object_stays("dirty tracking", &error);
            }
        }
    }
}

impl fmt::Debug for DirtyTracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tracked.table.describe("DirtyTracking", f)
    }
}

/// Dirty tracking.
impl HwPt {
    /// Begins to record what devices write through this table, with nothing dirty.
    ///
    /// # Errors
    /// [`Error::NotTrackable`]: the table was not allocated with
    /// [`dirty_tracking`](crate::HwPtBuilder::dirty_tracking). [`Error::AlreadyTracked`]: there is a
    /// guard of it. The kernel's refusal: `EOPNOTSUPP`: the IOMMU of an attached device does not
    /// record. [`Error::Forked`].
    #[doc(alias = "IOMMU_HWPT_SET_DIRTY_TRACKING")]
    pub fn track_dirty(&self) -> Result<DirtyTracking> {
        DirtyTracking::start(&self.table)
    }
}

/// Dirty tracking.
impl NestParent {
    /// Begins to record what devices write to the guest's memory, through this table or those that
    /// are nested in it, with nothing dirty.
    ///
    /// # Errors
    /// As for [`HwPt::track_dirty`].
    #[doc(alias = "IOMMU_HWPT_SET_DIRTY_TRACKING")]
    pub fn track_dirty(&self) -> Result<DirtyTracking> {
        DirtyTracking::start(&self.table)
    }
}
