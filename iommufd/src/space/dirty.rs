//! Reading what devices have written to what is mapped in a space.

use super::unmap::{covered, unmap_each};
use super::{Space, SpaceDriver, SpaceInner, SpaceMapping};
use crate::address::IovaRange;
use crate::dirty::{DirtyBitmap, Granule, View};
use crate::error::{Error, KernelError, Refused, Result};
use crate::ledger::Held;
use crate::watch::Notices;

impl Space {
    /// Reads what has been written since the last read, and forgets that it was: for all that is
    /// mapped in the bitmap's range now. The kernel has a bit for each `page`.
    ///
    /// # Errors
    /// As for [`DirtyTracking::read_and_clear`](crate::DirtyTracking::read_and_clear).
    pub fn read_dirty<B: AsMut<[u64]>>(
        &self,
        page: Granule,
        bitmap: &mut DirtyBitmap<B>,
    ) -> Result<()> {
        self.inner.read_dirty(page, &mut bitmap.view())
    }

    /// As [`unmap_range`](Self::unmap_range), with the last read of all that is unmapped.
    ///
    /// # Errors
    /// As for [`Ioas::unmap_range_reading_dirty`](crate::Ioas::unmap_range_reading_dirty).
    pub fn unmap_range_reading_dirty<B: AsMut<[u64]>>(
        &self,
        range: IovaRange,
        page: Granule,
        bitmap: &mut DirtyBitmap<B>,
    ) -> Result<u64> {
        match self
            .inner
            .unmap_within_reading(range, page, &mut bitmap.view())?
        {
            0 => Err(Error::NothingMapped { range }),
            bytes => Ok(bytes),
        }
    }
}

impl SpaceMapping {
    /// As [`unmap`](Self::unmap), with the last read of what was written.
    ///
    /// # Errors
    /// As for [`Mapping::unmap_reading_dirty`](crate::Mapping::unmap_reading_dirty).
    pub fn unmap_reading_dirty<B: AsMut<[u64]>>(
        mut self,
        page: Granule,
        bitmap: &mut DirtyBitmap<B>,
    ) -> Result<(), Refused<Self>> {
        let mut view = bitmap.view();
        let result = view.must_cover(self.range).and_then(|()| {
            self.undo_by(|driver, range, notices| {
                last_read(driver, range, page, &mut view, notices)
            })
        });
        result.map_err(|error| Refused::new(self, error))
    }
}

impl SpaceInner {
    fn read_dirty(&self, page: Granule, bitmap: &mut View<'_>) -> Result<()> {
        self.watch().check_process()?;
        // Made before any lock, what the observer hears is told after it.
        let mut notices = self.watch().notices();
        let mut mappings = Vec::new();
        let mut version = None;
        let mut rest = bitmap.range();
        loop {
            // For one ioctl at a time: unmaps that wait go on in between.
            let reading = self.ledger.reading();
            if version != Some(reading.version()) {
                mappings.clear();
                reading.add_touching(rest, &mut mappings);
                mappings.sort_unstable_by_key(|mapping| std::cmp::Reverse(mapping.start()));
                for mapping in &mappings {
                    bitmap.must_cover(*mapping)?;
                }
                version = Some(reading.version());
            }
            let Some(mapping) = mappings.pop() else {
                return Ok(());
            };
            let mut words = zeroed_words(mapping, page)?;
            self.driver
                .read_dirty(mapping, page, &mut words, &mut notices)
                .map_err(not_read(mapping))?;
            bitmap.take(mapping, page, &mut words);
            let beyond = mapping.last().checked_add(1);
            match beyond.and_then(|next| IovaRange::new(next, rest.last())) {
                Some(left) => rest = left,
                None => return Ok(()),
            }
        }
    }

    fn unmap_within_reading(
        &self,
        range: IovaRange,
        page: Granule,
        bitmap: &mut View<'_>,
    ) -> Result<u64> {
        self.watch().check_process()?;
        let mut released: Vec<Held> = Vec::new();
        let mut notices = self.watch().notices();
        let exclusive = self.ledger.exclusive();
        let entries = covered(&exclusive, range)?;
        for (_, mapping) in &entries {
            bitmap.must_cover(*mapping)?;
        }
        let each = |range, notices: &mut Notices<'_>| {
            last_read(&*self.driver, range, page, bitmap, notices)
        };
        unmap_each(&exclusive, &entries, &mut released, &mut notices, each)
    }
}

/// Unmaps `range` and reads into `bitmap`, which covers it, what was written there.
fn last_read(
    driver: &dyn SpaceDriver,
    range: IovaRange,
    page: Granule,
    bitmap: &mut View<'_>,
    notices: &mut Notices<'_>,
) -> Result<u64> {
    let mut words = zeroed_words(range, page)?;
    let bytes = driver
        .unmap_reading_dirty(range, page, &mut words, notices)
        .map_err(not_read(range))?;
    bitmap.take(range, page, &mut words);
    Ok(bytes)
}

fn not_read(range: IovaRange) -> impl FnOnce(KernelError) -> Error {
    move |reason| Error::NotRead { range, reason }
}

/// A clean bit for each `page` of `range`, for the kernel.
fn zeroed_words(range: IovaRange, page: Granule) -> Result<Vec<u64>> {
    DirtyBitmap::new(range, page).map(DirtyBitmap::into_words)
}
