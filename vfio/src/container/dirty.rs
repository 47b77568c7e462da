//! The record of what is written to what is mapped in a container.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use iommufd::driver::{Space, SpaceMapping};
use iommufd::{DirtyBitmap, Granule, IovaRange};
use iommufd_sys::ioctl::vfio as nr;
use rustix::io::Errno;

use super::info::lowest;
use super::type1::Type1;
use super::{Container, Way};
use crate::cause::refusal;
use crate::error::{Error, Refused, Result};
use crate::ioctl::{Audience, legacy};

/// The record of which pages are written in a [`Container`]: kept while it lives.
///
/// **The kernel does not ask the IOMMU.** Pages that it has pinned count as written at every read,
/// and with an ordinary device that is all there is. Only where every group of the container is of
/// mediated devices, which pin what they use, does the record tell more. It is there for programs
/// that migrate such devices; with an IOMMU that records, [`iommufd::DirtyTracking`] is what they
/// want.
///
/// Dropping it stops the record; [`stop`](Self::stop) does the same, and tells. There is one at a
/// time. When the last group leaves the container the kernel forgets it.
///
/// Since Linux 5.8.
///
/// ```no_run
/// # fn example(container: &vfio::Container, ram: iommufd::IovaRange) -> vfio::Result<()> {
/// use iommufd::{DirtyBitmap, Granule};
///
/// let tracking = container.track_dirty()?;
/// let mut bitmap = DirtyBitmap::new(ram, Granule::KIB_4)?;
/// tracking.read_and_clear(&mut bitmap)?;
/// for run in bitmap.runs() {
///     println!("copy {run}");
/// }
/// tracking.stop()?;
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `VFIO_IOMMU_DIRTY_PAGES`, and `VFIO_IOMMU_UNMAP_DMA` with a bitmap.
#[must_use = "dropping it stops the record"]
#[doc(alias = "VFIO_IOMMU_DIRTY_PAGES")]
pub struct ContainerDirtyTracking {
    space: Space,
    driver: Arc<Type1>,
    page: Granule,
    over: bool,
}

impl Container {
    /// Begins to record what is written to what is mapped.
    ///
    /// # Errors
    /// [`iommufd::Error::AlreadyTracked`]; [`iommufd::Error::NotTrackable`]: an address space stands
    /// in for the container, whose page tables are [tracked](iommufd::HwPt::track_dirty) instead, or
    /// the kernel is older than Linux 5.8. `EINVAL`: no group is in the container. `ENOMEM`.
    /// [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_IOMMU_DIRTY_PAGES_FLAG_START")]
    pub fn track_dirty(&self) -> Result<ContainerDirtyTracking> {
        let Way::Type1 { space, driver } = &self.way else {
            return Err(iommufd::Error::NotTrackable.into());
        };
        let limits = self.info()?.dirty;
        let limits = limits.ok_or(iommufd::Error::NotTrackable)?;
        if driver.tracked.swap(true, Ordering::AcqRel) {
            return Err(iommufd::Error::AlreadyTracked.into());
        }
        match driver.record(true) {
            Ok(()) => Ok(ContainerDirtyTracking {
                space: space.clone(),
                driver: Arc::clone(driver),
                // The kernel has bits for the smallest pages alone.
                page: lowest(limits.page_sizes),
                over: false,
            }),
            Err(error) => {
                driver.tracked.store(false, Ordering::Release);
                Err(error)
            }
        }
    }
}

impl Type1 {
    fn record(&self, start: bool) -> Result<()> {
        self.own_watch().check_process()?;
        let audience = Audience::Context(self.own_watch());
        legacy::track_dirty(self.fd(), audience, start)
            .map_err(|errno| refusal(nr::IOMMU_DIRTY_PAGES.describe(), errno).into())
    }
}

impl ContainerDirtyTracking {
    /// Reads which pages count as written since the last read, for all that is mapped in the
    /// bitmap's range now. Bits are set in `bitmap`, and none cleared.
    ///
    /// # Errors
    /// [`iommufd::Error::NotCovered`]: a mapping lies in the bitmap's range only in part.
    /// [`iommufd::Error::NotRead`] says which mapping the kernel refused to read; what was read
    /// before is in `bitmap`. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP")]
    pub fn read_and_clear<B: AsMut<[u64]>>(&self, bitmap: &mut DirtyBitmap<B>) -> Result<()> {
        Ok(self.space.read_dirty(self.page, bitmap)?)
    }

    /// Unmaps all that lies in `range`, with the last read of each mapping. Returns how many bytes
    /// were mapped.
    ///
    /// # Errors
    /// [`iommufd::Error::NotCovered`], with nothing unmapped; else as for
    /// [`Container::unmap_range`].
    #[doc(alias = "VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP")]
    pub fn unmap_range<B: AsMut<[u64]>>(
        &self,
        range: IovaRange,
        bitmap: &mut DirtyBitmap<B>,
    ) -> Result<u64> {
        let unmapped = self
            .space
            .unmap_range_reading_dirty(range, self.page, bitmap);
        Ok(unmapped?)
    }

    /// What a bit of the kernel's stands for.
    #[must_use]
    pub fn page(&self) -> Granule {
        self.page
    }

    /// Stops the record.
    ///
    /// # Errors
    /// The kernel's refusal, with the record as it was; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP")]
    pub fn stop(mut self) -> Result<(), Refused<Self>> {
        match self.end() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    pub(super) fn is_of(&self, mapping: &SpaceMapping) -> bool {
        mapping.is_in(&self.space)
    }

    fn end(&mut self) -> Result<()> {
        if self.over {
            return Ok(());
        }
        match self.driver.record(false) {
            // With the last group the kernel has forgotten it.
            Err(error) if error.errno() == Some(Errno::INVAL) && !self.driver.has_groups() => {}
            answer => answer?,
        }
        self.over = true;
        self.driver.tracked.store(false, Ordering::Release);
        Ok(())
    }
}

impl Drop for ContainerDirtyTracking {
    fn drop(&mut self) {
        match self.end() {
            Ok(()) | Err(Error::Iommufd(iommufd::Error::Forked)) => {}
            Err(error) => {
                // The kernel goes on recording; that does no harm, and another guard can begin.
                self.driver.tracked.store(false, Ordering::Release);
                if let Error::Iommufd(error) = &error {
                    let watch = self.driver.own_watch();
                    watch.refused_drop("dirty tracking", error);
                }
            }
        }
    }
}

impl fmt::Debug for ContainerDirtyTracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerDirtyTracking")
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}
