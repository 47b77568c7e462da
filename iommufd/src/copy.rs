//! Mapping once more what is mapped already, in the same address space or in another.

use std::ops::RangeBounds;

use crate::address::Iova;
use crate::error::Result;
use crate::ioas::Ioas;
use crate::map::Access;
use crate::mapping::Mapping;
use crate::memory::part;

/// Mapping what is mapped already.
impl Ioas {
    /// Maps the memory of another mapping, or a part of it, at an address that the kernel chooses.
    ///
    /// The source can be in this address space or in another of the same context. The two share
    /// the memory: its pages are pinned and counted once, and stay until the last of them is
    /// unmapped, in whatever order. Unmapping the source takes nothing from the copy.
    ///
    /// ```no_run
    /// # fn example(iommufd: &iommufd::Iommufd, ram: &iommufd::Mapping) -> iommufd::Result<()> {
    /// use iommufd::{Access, Ioas, Iova};
    ///
    /// // A second address space, for a device that shall see one MiB of the guest and no more.
    /// let window = Ioas::new(iommufd)?;
    /// let shared = ram.slice(0x10_0000..0x20_0000)?;
    /// let copy = window.copy_at(Iova::new(0x10_0000), shared, Access::Read)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Waits for [`unmap_all`](Ioas::unmap_all) and [`unmap_range`](Ioas::unmap_range) of the two
    /// address spaces, as they wait for it. (The kernel would copy several adjacent mappings at
    /// once, too. The SDK copies one at a time, so that each can be unmapped by itself.)
    ///
    /// A copy of a dma-buf that was revoked takes its place and leads nowhere, as the source does.
    ///
    /// Since Linux 6.2.
    ///
    /// # Errors
    /// [`Error::Unmapped`]: `unmap_all` or `unmap_range` has emptied the source; or somebody else has
    /// unmapped it, and something else was then mapped in its place.
    /// [`Error::ForeignContext`]. `EPERM`: the copy could be written, and the source was mapped to
    /// be read only. `ENOSPC`: no free range is long enough. `EINVAL`: the length, or the place in
    /// its page, is not a multiple of [`IovaRanges::alignment`](crate::IovaRanges::alignment).
    /// `EFAULT`: the memory cannot be pinned; it stays with the address space, as after
    /// [`map`](Ioas::map), unless the copy was to be at a fixed address. `ENOENT`: somebody else who has the same
    /// `/dev/iommu` has unmapped the source. [`Error::LockedMemory`] (`ENOMEM`).
    /// [`Error::Empty`]. [`Error::ReadOnlyRefused`], before the kernel is asked, of a copy that
    /// devices may only read. [`Error::Forked`].
    ///
    /// [`Error::ReadOnlyRefused`]: crate::Error::ReadOnlyRefused
    /// [`Error::Unmapped`]: crate::Error::Unmapped
    /// [`Error::ForeignContext`]: crate::Error::ForeignContext
    /// [`Error::LockedMemory`]: crate::Error::LockedMemory
    /// [`Error::Empty`]: crate::Error::Empty
    /// [`Error::Forked`]: crate::Error::Forked
    #[doc(alias = "IOMMU_IOAS_COPY")]
    pub fn copy<'m>(
        &self,
        source: impl Into<MappingSlice<'m>> + 'm,
        access: Access,
    ) -> Result<Mapping> {
        self.map_copy(source.into(), None, access)
    }

    /// Maps the memory of another mapping, or a part of it, at `iova`.
    ///
    /// # Errors
    /// `EEXIST`: something is mapped there. `EINVAL`: also if the addresses are not all in
    /// [`iova_ranges`](Ioas::iova_ranges). `EOVERFLOW`: the end passes the address space's. Else
    /// as for [`copy`](Ioas::copy).
    pub fn copy_at<'m>(
        &self,
        iova: Iova,
        source: impl Into<MappingSlice<'m>> + 'm,
        access: Access,
    ) -> Result<Mapping> {
        self.map_copy(source.into(), Some(iova), access)
    }
}

impl Mapping {
    /// The part `range` of the mapping, in bytes from its start, to be [copied](Ioas::copy).
    ///
    /// # Errors
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds) if there is no such part.
    pub fn slice(&self, range: impl RangeBounds<u64>) -> Result<MappingSlice<'_>> {
        MappingSlice::from(self).slice(range)
    }
}

/// A part of a mapping, or all of it: what is copied.
///
/// Made from a reference to the mapping, where it means all of it, or by [`Mapping::slice`]. It
/// borrows the mapping, so that cannot be unmapped before it is copied.
#[derive(Debug, Clone, Copy)]
pub struct MappingSlice<'m> {
    mapping: &'m Mapping,
    /// Invariant: `offset + len` does not pass the end of the mapping.
    offset: u64,
    len: u64,
}

impl<'m> MappingSlice<'m> {
    /// The part `range` of this part, in bytes.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`](crate::Error::OutOfBounds) if there is no such part.
    pub fn slice(&self, range: impl RangeBounds<u64>) -> Result<Self> {
        let bytes = |&bytes: &u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let range = (range.start_bound().map(bytes), range.end_bound().map(bytes));
        let (start, len) = part(range, bytes(&self.len))?;
        Ok(Self {
            mapping: self.mapping,
            // Both are within `self`, which is within the mapping.
            offset: self.offset + start as u64,
            len: len as u64,
        })
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The mapping of which it is a part.
    pub fn mapping(&self) -> &'m Mapping {
        self.mapping
    }

    /// Where it begins.
    pub(crate) fn iova(&self) -> Iova {
        // It passes the end of the address space only for no bytes at the very end.
        Iova::new(self.mapping.iova().get().saturating_add(self.offset))
    }
}

impl<'m> From<&'m Mapping> for MappingSlice<'m> {
    fn from(mapping: &'m Mapping) -> Self {
        Self {
            mapping,
            offset: 0,
            len: mapping.len(),
        }
    }
}
