//! DMA logging: what a device has written, as it records itself.

use std::fmt;

use iommufd::driver::DeviceDirty;
use iommufd::{DirtyBitmap, Granule, IovaRange};
use iommufd_sys::vfio as sys;

use crate::bound::Bound;
use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
use crate::eventfd;
#[cfg(doc)]
use crate::feature::FeatureError;
use crate::feature::{Feature, Guarded, refusal};
use crate::holders::{Hold, Kind};
use crate::ioctl::feature as funnel;
use crate::ioctl::feature::Bare;
use crate::query::malformed;

mod ranges;

use ranges::Ranges;

/// A device that records which pages it writes: until this is dropped.
///
/// Some devices can do so where the IOMMU cannot; what is recorded is read into the same bitmap, an
/// [`iommufd::DirtyBitmap`]. It begins with nothing dirty. It has nothing to do with the device's
/// [migration state](crate::migration), though a driver may end it when the device has been copied, or is
/// reset: a read says so then ([`RecordLost`]).
///
/// A device that fails to tell has lost its record: so [`read_and_clear`](Self::read_and_clear) consumes
/// this, and fails with [`RecordLost`], which says what is to be taken for dirty.
///
/// It holds the device open. Dropping it ends the record; [`stop`](Self::stop) does the same, and tells.
///
/// ```no_run
/// # fn example(device: &vfio::Device, ram: iommufd::IovaRange) -> Result<(), Box<dyn std::error::Error>> {
/// use iommufd::{DirtyBitmap, Granule};
///
/// let mut log = device.log_dma(Granule::KIB_4, &[ram])?;
/// let mut bitmap = DirtyBitmap::new(ram, Granule::KIB_4)?;
/// // Copy all of the memory, and then, again and again, what has been written since:
/// log = log.read_and_clear(&mut bitmap)?;
/// for run in bitmap.runs() {
///     println!("copy {run} once more");
/// }
/// bitmap.clear();
/// log.stop()?;
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `VFIO_DEVICE_FEATURE`; `mmap` when a read needs more room than any before.
///
/// Since Linux 6.1.
///
/// # Invariants
/// Until `over`, the claim is this guard's.
#[must_use = "dropping it ends the record"]
pub struct DmaLogging {
    hold: Hold,
    ranges: Ranges,
    page: Granule,
    pages: Box<DeviceDirty>,
    over: bool,
}

impl DmaLogging {
    fn start(device: &OpenDevice, granule: Granule, ranges: &[IovaRange]) -> Result<Self> {
        let ranges = Ranges::new(granule, ranges)?;
        let hold = Hold::new(device.bound(), Kind::Feature);
        let bound = hold.bound();
        // Not every driver refuses a second start.
        bound.claims.take(Guarded::DmaLogging)?;
        let page = match Self::ask_to_start(bound, granule, &ranges) {
            Ok(page) => page,
            Err(error) => {
                bound.claims.release(Guarded::DmaLogging);
                return Err(error);
            }
        };
        // INVARIANT: it has just been claimed. Dropped, it stops.
        let mut log = Self {
            hold,
            ranges,
            page: granule,
            pages: Box::default(),
            over: false,
        };
        log.page = Granule::new(page).ok_or(malformed(
            Feature::DmaLogging.name(),
            "the pages that the device records have no size",
        ))?;
        Ok(log)
    }

    fn ask_to_start(bound: &Bound, granule: Granule, ranges: &Ranges) -> Result<u64> {
        let (fd, audience) = (bound.fd()?, bound.audience());
        funnel::start_dma_logging(fd, audience, granule.bytes(), &ranges.raw())
            .map_err(|errno| refusal(Feature::DmaLogging, errno))
    }

    /// The size of the pages that the device records: what was asked for, or what it can do instead.
    #[must_use]
    pub fn page(&self) -> Granule {
        self.page
    }

    /// What is recorded, by address.
    #[must_use]
    pub fn ranges(&self) -> &[IovaRange] {
        self.ranges.as_slice()
    }

    /// Reads what the device has written since the last read, or since the record began, in the bitmap's
    /// range, and has the device forget it.
    ///
    /// Bits are set in `bitmap`, and none cleared. What lies outside of [`ranges`](Self::ranges) is not
    /// recorded, and left as it is.
    ///
    /// # Errors
    /// [`LogReadFailed::Lost`]: what was recorded can be told no more, and everything in all the
    /// [`ranges`](Self::ranges) has to be taken for dirty; in `bitmap` it has been made so. The record is
    /// ended: begin another one. [`LogReadFailed::Refused`], before the device is asked, with the log as it
    /// was: [`FeatureError::BitmapNotOfPages`]; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT")]
    pub fn read_and_clear<B: AsMut<[u64]>>(
        mut self,
        bitmap: &mut DirtyBitmap<B>,
    ) -> Result<Self, LogReadFailed> {
        let parts = match self.parts(bitmap.range()) {
            Ok(parts) => parts,
            Err(error) => return Err(LogReadFailed::Refused(Refused::new(self, error))),
        };
        for part in parts {
            if let Err(error) = self.read_part(part, bitmap) {
                let lost = RecordLost::new(error, self);
                lost.mark_dirty(bitmap);
                return Err(LogReadFailed::Lost(lost));
            }
        }
        Ok(self)
    }

    /// The parts of `bitmap` that are recorded, in pieces that the device can be asked for.
    fn parts(&self, bitmap: IovaRange) -> Result<Vec<IovaRange>> {
        self.hold.bound().watch().check_process()?;
        Ok(self.ranges.within(bitmap, self.page)?)
    }

    fn read_part<B: AsMut<[u64]>>(
        &mut self,
        part: IovaRange,
        bitmap: &mut DirtyBitmap<B>,
    ) -> Result<()> {
        let bound = self.hold.bound();
        let (fd, audience) = (bound.fd()?, bound.audience());
        let ask = |page: Granule, words: &mut [u64]| {
            let arg = sys::vfio_device_feature_dma_logging_report {
                iova: part.start().get(),
                // The whole address space is never recorded.
                length: part.len().unwrap_or(u64::MAX),
                page_size: page.bytes(),
                bitmap: 0,
            };
            funnel::report_dma_logging(fd, audience, arg, words)
        };
        self.pages
            .read(bitmap, part, ranges::LEAST, ask)?
            .map_err(|errno| refusal(Feature::DmaLoggingReport, errno))
    }

    /// Ends the record.
    ///
    /// # Errors
    /// The kernel's refusal, with the record as it was; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP")]
    pub fn stop(mut self) -> Result<(), Refused<Self>> {
        match self.end() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    fn end(&mut self) -> Result<()> {
        if !self.over {
            let bound = self.hold.bound();
            bound.set_bare_feature(Bare::DmaLoggingStop)?;
            self.over = true;
            bound.claims.release(Guarded::DmaLogging);
        }
        Ok(())
    }
}

impl Drop for DmaLogging {
    fn drop(&mut self) {
        let ended = self.end();
        let bound = self.hold.bound();
        if !self.over {
            // The device goes on recording, which does no harm; the kernel refuses another start, or
            // makes it the only one.
            bound.claims.release(Guarded::DmaLogging);
        }
        eventfd::refused_drop(bound, "DMA logging", ended);
    }
}

impl fmt::Debug for DmaLogging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaLogging")
            .field("page", &self.page)
            .field("ranges", &self.ranges())
            .finish_non_exhaustive()
    }
}

/// Why what a device has recorded was not read.
#[derive(Debug, thiserror::Error)]
pub enum LogReadFailed {
    /// The device was not asked: here is the log, as it was.
    #[error("{0}")]
    Refused(#[source] Refused<DmaLogging>),
    /// The device was asked, and the record is lost.
    #[error(transparent)]
    Lost(RecordLost),
}

/// What a device has recorded could not be read: any page of [`ranges`](Self::ranges) may have been
/// written. The record is ended.
#[derive(Debug, thiserror::Error)]
#[error("{error}; all that the device could have written has to be taken for dirty")]
#[must_use = "what may be dirty has to be taken for dirty"]
pub struct RecordLost {
    #[source]
    error: Box<Error>,
    ranges: Ranges,
}

impl RecordLost {
    fn new(error: Error, log: DmaLogging) -> Self {
        Self {
            error: Box::new(error),
            ranges: log.ranges.clone(),
        }
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What has to be taken for dirty: all that was recorded.
    #[must_use]
    pub fn ranges(&self) -> &[IovaRange] {
        self.ranges.as_slice()
    }

    /// Makes all of it dirty in `bitmap`: for each bitmap that gathers what the device writes.
    pub fn mark_dirty<B: AsMut<[u64]>>(&self, bitmap: &mut DirtyBitmap<B>) {
        for range in self.ranges() {
            bitmap.mark_dirty(*range);
        }
    }
}

/// DMA logging.
impl OpenDevice {
    /// Has the device record which pages of `ranges` it writes, with nothing dirty.
    ///
    /// `granule` is the size of a page that is wished for; the device may have another
    /// ([`DmaLogging::page`]). There are 256 ranges at most, as the kernel promises no more.
    ///
    /// Since Linux 6.1.
    ///
    /// # Errors
    /// [`FeatureError::NotThere`]: the device records nothing. [`FeatureError::Taken`]: it does so
    /// already. Before the kernel is asked: [`FeatureError::NoRanges`], [`FeatureError::TooManyRanges`],
    /// [`FeatureError::RangesOverlap`], [`FeatureError::RangeNotOfPages`],
    /// [`FeatureError::PageTooSmall`]. `EINVAL`, `ENOMEM`: the device cannot record so much.
    /// [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_DMA_LOGGING_START")]
    pub fn log_dma(&self, granule: Granule, ranges: &[IovaRange]) -> Result<DmaLogging> {
        DmaLogging::start(self, granule, ranges)
    }
}

#[cfg(test)]
mod tests;
