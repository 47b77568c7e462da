//! The guard of one mapping in a container.

use std::fmt;

use iommufd::driver::SpaceMapping;
use iommufd::{DirtyBitmap, Iova, IovaRange, Mapping};

use super::dirty::ContainerDirtyTracking;
use crate::error::{Refused, Result};

/// One mapping in a [`Container`](crate::Container): unmapped when dropped.
///
/// It holds its container. Unmapping can take long: it returns when no device reaches the memory any
/// more and its pages are unpinned.
///
/// Forgetting a mapping leaks nothing but its place: the memory stays mapped and alive until the
/// last group leaves the container, or [`unmap_all`](crate::Container::unmap_all) empties it.
#[must_use = "dropping a mapping unmaps it"]
pub struct ContainerMapping {
    way: Way,
}

enum Way {
    Own(SpaceMapping),
    Compat(Mapping),
}

impl ContainerMapping {
    pub(super) fn own(mapping: SpaceMapping) -> Self {
        Self {
            way: Way::Own(mapping),
        }
    }

    pub(super) fn compat(mapping: Mapping) -> Self {
        Self {
            way: Way::Compat(mapping),
        }
    }

    /// All the addresses.
    #[must_use]
    pub fn range(&self) -> IovaRange {
        match &self.way {
            Way::Own(mapping) => mapping.range(),
            Way::Compat(mapping) => mapping.range(),
        }
    }

    /// The first address for the device. It is only a number: keep the mapping as long as the device
    /// uses it.
    #[must_use]
    pub fn iova(&self) -> Iova {
        self.range().start()
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.range().len().unwrap_or(u64::MAX)
    }

    /// Always false: a mapping has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Unmaps it. On return no device reaches the memory through it any more.
    ///
    /// # Errors
    /// The kernel's refusal, with the mapping; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_IOMMU_UNMAP_DMA")]
    pub fn unmap(self) -> Result<(), Refused<Self>> {
        match self.way {
            Way::Own(mapping) => mapping.unmap().map_err(|refused| {
                let (mapping, error) = refused.into_parts();
                Refused::new(Self::own(mapping), error)
            }),
            Way::Compat(mapping) => mapping.unmap().map_err(|refused| {
                let (mapping, error) = refused.into_parts();
                Refused::new(Self::compat(mapping), error)
            }),
        }
    }

    /// Reads what was written to it since the last read, and unmaps it, at once.
    ///
    /// # Errors
    /// With the mapping, still mapped: [`iommufd::Error::NotCovered`]: `bitmap` does not cover all of
    /// it; [`iommufd::Error::NotRead`]: the kernel refused; [`iommufd::Error::NotTracked`]:
    /// `tracking` is of another container; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP")]
    pub fn unmap_reading_dirty<B: AsMut<[u64]>>(
        self,
        tracking: &ContainerDirtyTracking,
        bitmap: &mut DirtyBitmap<B>,
    ) -> Result<(), Refused<Self>> {
        match self.way {
            Way::Own(mapping) if tracking.is_of(&mapping) => {
                let unmapped = mapping.unmap_reading_dirty(tracking.page(), bitmap);
                unmapped.map_err(|refused| {
                    let (mapping, error) = refused.into_parts();
                    Refused::new(Self::own(mapping), error)
                })
            }
            way => Err(Refused::new(Self { way }, iommufd::Error::NotTracked)),
        }
    }
}

impl fmt::Debug for ContainerMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerMapping")
            .field("range", &self.range())
            .finish_non_exhaustive()
    }
}
