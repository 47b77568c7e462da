//! The last read of what is then unmapped.

use std::sync::Arc;

use super::bitmap::{DirtyBitmap, View};
use super::tracked::Tracked;
use crate::address::IovaRange;
use crate::context::Notices;
use crate::error::{Error, Refused, Result};
use crate::ioas::{Ioas, IoasInner};
use crate::mapping::Mapping;

impl Mapping {
    /// Reads what devices have written to the mapping, through all page tables of the address space
    /// that are tracked, and unmaps it.
    ///
    /// With the mapping its dirty bits go. Nothing else is done to it between the read and the
    /// unmap; what a device writes between the two is lost, so let no device write any more that
    /// matters. If a range unmap has emptied the mapping already, there is nothing to read: it had
    /// the last read, or nobody did.
    ///
    /// # Errors
    /// With the mapping, and every dirty bit still in the page tables; bits that were
    /// read are set in `bitmap` nevertheless. [`Error::NotTracked`]: no table is tracked, so nobody
    /// knows what is dirty. [`Error::NotCovered`]: `bitmap` does not cover all of the mapping.
    /// [`Error::NotRead`]: the kernel refused a read; nothing is unmapped. Else as for
    /// [`unmap`](Self::unmap).
    ///
    /// # System calls
    /// `IOMMU_HWPT_GET_DIRTY_BITMAP` for each table, and `IOMMU_IOAS_UNMAP`.
    ///
    /// Since Linux 6.7.
    #[doc(alias = "IOMMU_HWPT_GET_DIRTY_BITMAP")]
    pub fn unmap_reading_dirty<B: AsMut<[u64]>>(
        mut self,
        bitmap: &mut DirtyBitmap<B>,
    ) -> Result<(), Refused<Self>> {
        let mut bitmap = bitmap.view();
        // Dropped after all else: tables can go with it.
        let mut tables = Vec::new();
        let ioas = self.ioas().inner;
        let result = ioas.must_be_tracked().and_then(|()| {
            self.undo_after(|range, notices| {
                ioas.read_last(&[range], &mut bitmap, &mut tables, notices)
            })
        });
        result.map_err(|error| Refused::new(self, error))
    }
}

/// Dirty tracking.
impl Ioas {
    /// Reads what devices have written to what is mapped in `range`, through all page tables that
    /// are tracked, and unmaps it. Returns how many bytes were mapped.
    ///
    /// As [`Mapping::unmap_reading_dirty`] for [`unmap_range`](Self::unmap_range). All is read
    /// before anything is unmapped; but not what others have mapped there, which is unmapped too.
    ///
    /// # Errors
    /// [`Error::NotTracked`]; [`Error::NotCovered`]; [`Error::NotRead`]; with nothing unmapped. If
    /// the kernel kept some mappings ([`Error::PartlyUnmapped`]), their dirty bits are still in the
    /// page tables, and read as well. Else as for [`unmap_range`](Self::unmap_range).
    ///
    /// # System calls
    /// `IOMMU_HWPT_GET_DIRTY_BITMAP` for each table and run of mappings, and `IOMMU_IOAS_UNMAP`.
    ///
    /// Since Linux 6.7.
    #[doc(alias = "IOMMU_HWPT_GET_DIRTY_BITMAP")]
    pub fn unmap_range_reading_dirty<B: AsMut<[u64]>>(
        &self,
        range: IovaRange,
        bitmap: &mut DirtyBitmap<B>,
    ) -> Result<u64> {
        let mut bitmap = bitmap.view();
        // Dropped after all else: tables can go with it.
        let mut tables = Vec::new();
        let ioas = &self.inner;
        ioas.must_be_tracked()?;
        let bytes = ioas.unmap_within_after(range, |entries, notices| {
            let mappings: Vec<_> = entries.iter().map(|(_, mapping)| *mapping).collect();
            ioas.read_last(&mappings, &mut bitmap, &mut tables, notices)
        })?;
        match bytes {
            0 => Err(Error::NothingMapped { range }),
            bytes => Ok(bytes),
        }
    }
}

impl IoasInner {
    fn must_be_tracked(&self) -> Result<()> {
        self.context().check_process()?;
        match self.tracked().is_empty() {
            true => Err(Error::NotTracked),
            false => Ok(()),
        }
    }

    /// Reads `mappings` from all tracked tables, which are left in `tables`. The caller keeps the
    /// mappings as they are.
    fn read_last(
        &self,
        mappings: &[IovaRange],
        bitmap: &mut View<'_>,
        tables: &mut Vec<Arc<Tracked>>,
        notices: &mut Notices<'_>,
    ) -> Result<()> {
        for mapping in mappings {
            bitmap.must_cover(*mapping)?;
        }
        *tables = self.tracked().all();
        if tables.is_empty() {
            return Err(Error::NotTracked);
        }
        tables
            .iter()
            .try_for_each(|table| table.read_last(mappings, bitmap, notices))
    }
}
