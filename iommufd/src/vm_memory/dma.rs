//! The memory of a guest in an address space.

use std::fmt;
use std::sync::Arc;

use ::vm_memory::bitmap::Bitmap;
use ::vm_memory::{GuestAddress, GuestMemoryBackend, GuestRegionMmap};

use super::block::Blocks;
use super::books::{Books, GuestBlock, Region, RegionClaim, Slot};
use super::error::{BlockError, GuestDmaError};
use super::range::GuestRange;
use super::region::GuestRegion;
use super::unmap::{Plainly, Unmap, check_slots, unmap_slot, unmap_slots};
use crate::address::Iova;
use crate::error::{Error, Refused};
use crate::ioas::Ioas;
use crate::map::Access;
use crate::mapping::Mapping;
use crate::memory::DmaSlice;

/// The memory of a guest, mapped in an address space at the guest's physical addresses.
///
/// It keeps the mappings of the guest's regions, cut into [`Blocks`], and knows which are there.
/// Every call does what it is to do whole, or undoes what it has done.
///
/// All methods take `&self`: the object can be shared by the threads of a VMM. Pinning the memory
/// of a large guest takes long, and goes quicker on several threads: each adds regions of its own
/// ([`add_region`](Self::add_region)), or maps blocks of one that has been added without being
/// mapped ([`add_region_unmapped`](Self::add_region_unmapped), [`map_block`](Self::map_block)).
/// Whoever wants what another thread is at is told so ([`GuestDmaError::Busy`]) and does not wait.
///
/// What is mapped here is unmapped here: [`Ioas::unmap_all`] and [`Ioas::unmap_range`] would do it
/// behind its back. Other mappings of the address space it neither touches nor sees.
///
/// Dropping it unmaps everything, which takes long for a large guest, and cannot tell:
/// [`unmap_all`](Self::unmap_all) does it where waiting is all right, and tells. Memory that could
/// not be unmapped is kept by the address space.
///
/// With a block that is unmapped, what devices have written to it since the last read is lost to a
/// [`DirtyTracking`](crate::DirtyTracking). While one is in use, as in a migration, unmap with the
/// methods that read before ([`unmap_block_reading_dirty`](Self::unmap_block_reading_dirty) and
/// others).
///
/// # System calls
/// `IOMMU_IOAS_MAP` or `IOMMU_IOAS_MAP_FILE`, and `IOMMU_IOAS_UNMAP`, one for each block.
///
/// Since Linux 6.2.
///
/// # Invariants
/// No two regions overlap. A block that the books have as mapped is mapped, at its own address,
/// as far as this object has been told.
#[must_use = "dropping it unmaps the guest's memory"]
pub struct GuestDma {
    // The order matters little, as mappings hold the address space; it is that of the use.
    books: Books,
    ioas: Ioas,
}

impl GuestDma {
    /// An empty one: nothing is mapped in `ioas`, and it need not be empty.
    pub fn new(ioas: &Ioas, blocks: impl Into<Blocks>) -> Self {
        Self {
            books: Books::new(blocks.into()),
            ioas: ioas.clone(),
        }
    }

    /// Maps all regions of `memory`, or none.
    ///
    /// # Errors
    /// [`GuestDmaError::Unowned`], [`GuestDmaError::Protected`], [`GuestDmaError::Overlap`], all
    /// with nothing done; [`GuestDmaError::MapRefused`], with everything undone, if a block cannot
    /// be mapped, for the reasons of [`Ioas::map_at`]; [`Error::Forked`].
    pub fn add_memory<B: Bitmap + Send + Sync + 'static>(
        &self,
        memory: &impl GuestMemoryBackend<R = GuestRegionMmap<B>>,
        access: Access,
    ) -> Result<(), GuestDmaError> {
        let regions: Result<_, GuestDmaError> = memory
            .iter()
            .map(|region| described(GuestRegion::new(region)?, access))
            .collect();
        self.add(regions?)
    }

    /// Maps a region.
    ///
    /// # Errors
    /// As for [`add_memory`](Self::add_memory).
    pub fn add_region<B: Bitmap + Send + Sync + 'static>(
        &self,
        region: GuestRegion<B>,
        access: Access,
    ) -> Result<(), GuestDmaError> {
        self.add(vec![described(region, access)?])
    }

    /// Adds a region without mapping any of it, as virtio-mem begins: its blocks are mapped one by
    /// one, with [`map_block`](Self::map_block).
    ///
    /// # Errors
    /// As for [`add_memory`](Self::add_memory); nothing is asked of the kernel.
    pub fn add_region_unmapped<B: Bitmap + Send + Sync + 'static>(
        &self,
        region: GuestRegion<B>,
        access: Access,
    ) -> Result<(), GuestDmaError> {
        self.check_process()?;
        let claims = self.books.enter(vec![described(region, access)?])?;
        claims.into_iter().for_each(RegionClaim::stay);
        Ok(())
    }

    /// Unmaps all that is mapped of the region that begins at `start`, and forgets the region.
    ///
    /// While an unmap that fails is being made good, devices do not reach what has been unmapped
    /// already: a DMA to it is lost.
    ///
    /// While a page table is tracked, what devices have written since the last read is lost with
    /// the mappings, also if the region stays:
    /// [`remove_region_reading_dirty`](Self::remove_region_reading_dirty) reads it.
    ///
    /// # Errors
    /// [`GuestDmaError::NoRegion`] and [`GuestDmaError::Busy`], with nothing done;
    /// [`GuestDmaError::UnmapRefused`], with the region mapped as it was, if a block cannot be
    /// unmapped, for the reasons of [`Mapping::unmap`]; [`Error::Forked`].
    pub fn remove_region(&self, start: GuestAddress) -> Result<(), GuestDmaError> {
        self.remove_region_by(start, &mut Plainly)
    }

    pub(super) fn remove_region_by(
        &self,
        start: GuestAddress,
        how: &mut impl Unmap,
    ) -> Result<(), GuestDmaError> {
        self.check_process()?;
        let mut claim = self.books.claim_region(start)?;
        check_slots(&mut claim, how).map_err(|BlockError { block, reason }| {
            GuestDmaError::UnmapRefused {
                block,
                reason,
                missing: Vec::new(),
            }
        })?;
        let mut unmapped = Vec::new();
        for index in 0..claim.slots.len() {
            match unmap_slot(&mut claim, index, how) {
                Ok(true) => unmapped.push(index),
                Ok(false) => {}
                Err(BlockError { block, reason }) => {
                    let missing = unmapped
                        .into_iter()
                        .rev()
                        .filter_map(|index| self.map_slot(&mut claim, index).err())
                        .collect();
                    claim.stay();
                    return Err(GuestDmaError::UnmapRefused {
                        block,
                        reason,
                        missing,
                    });
                }
            }
        }
        claim.leave();
        Ok(())
    }

    /// Maps the block that `at` belongs to, and says which that is.
    ///
    /// # Errors
    /// [`GuestDmaError::NoMemory`], [`GuestDmaError::Busy`] and [`GuestDmaError::Mapped`], with
    /// nothing done; [`GuestDmaError::MapRefused`], for the reasons of [`Ioas::map_at`];
    /// [`Error::Forked`].
    pub fn map_block(&self, at: GuestAddress) -> Result<GuestRange, GuestDmaError> {
        self.check_process()?;
        let mut claim = self.books.claim_block(at)?;
        let block = claim.block;
        if claim.mapping.is_some() {
            return Err(GuestDmaError::Mapped { block });
        }
        match self.map(&claim.region, block) {
            Ok(mapping) => {
                claim.mapping = Some(mapping);
                Ok(block)
            }
            Err(reason) => Err(GuestDmaError::MapRefused {
                block,
                reason,
                left: Vec::new(),
            }),
        }
    }

    /// Unmaps the block that `at` belongs to, and says which that is: on return no device reaches
    /// it any more, and its pages can be discarded.
    ///
    /// While a page table is tracked, what devices have written to the block since the last read is
    /// lost with the mapping:
    /// [`unmap_block_reading_dirty`](Self::unmap_block_reading_dirty) reads it.
    ///
    /// # Errors
    /// [`GuestDmaError::NoMemory`], [`GuestDmaError::Busy`] and [`GuestDmaError::NotMapped`], with
    /// nothing done; [`GuestDmaError::UnmapRefused`], with the block still mapped, for the reasons
    /// of [`Mapping::unmap`]; [`Error::Forked`].
    pub fn unmap_block(&self, at: GuestAddress) -> Result<GuestRange, GuestDmaError> {
        self.unmap_block_by(at, &mut Plainly)
    }

    pub(super) fn unmap_block_by(
        &self,
        at: GuestAddress,
        how: &mut impl Unmap,
    ) -> Result<GuestRange, GuestDmaError> {
        self.check_process()?;
        let mut claim = self.books.claim_block(at)?;
        let block = claim.block;
        let Some(mapping) = claim.mapping.take() else {
            return Err(GuestDmaError::NotMapped { block });
        };
        how.unmap(mapping).map_err(|refused| {
            let (mapping, reason) = refused.into_parts();
            claim.mapping = Some(mapping);
            GuestDmaError::UnmapRefused {
                block,
                reason,
                missing: Vec::new(),
            }
        })?;
        Ok(block)
    }

    /// The block that `at` belongs to, and whether it is mapped now; `None` where the guest has no
    /// memory, and in a child of a fork.
    #[must_use]
    pub fn block_at(&self, at: GuestAddress) -> Option<GuestBlock> {
        self.check_process().ok()?;
        self.books.find(at)
    }

    /// The regions, by address; none in a child of a fork.
    #[must_use]
    pub fn regions(&self) -> Vec<GuestRange> {
        match self.check_process() {
            Ok(()) => self.books.regions(),
            Err(_) => Vec::new(),
        }
    }

    /// Unmaps everything, now and for certain.
    ///
    /// While a page table is tracked, what devices have written since the last read is lost with
    /// the mappings: [`unmap_all_reading_dirty`](Self::unmap_all_reading_dirty) reads it.
    ///
    /// # Errors
    /// [`GuestDmaError::StillMapped`], with all that is still mapped, and the regions that it is
    /// of; the rest is unmapped. [`Error::Forked`].
    #[expect(clippy::result_large_err, reason = "it gives back what it was given")]
    pub fn unmap_all(self) -> Result<(), Refused<Self, GuestDmaError>> {
        self.unmap_all_by(&mut Plainly)
    }

    #[expect(clippy::result_large_err, reason = "it gives back what it was given")]
    pub(super) fn unmap_all_by(
        self,
        how: &mut impl Unmap,
    ) -> Result<(), Refused<Self, GuestDmaError>> {
        if let Err(error) = self.check_process() {
            return Err(Refused::new(self, error));
        }
        let mut blocks = Vec::new();
        for region in self.books.regions() {
            // Nobody else has the object, so nobody else has a claim.
            if let Ok(mut claim) = self.books.claim_region(region.start()) {
                unmap_slots(&mut claim, &mut blocks, how);
                claim.leave();
            }
        }
        if blocks.is_empty() {
            Ok(())
        } else {
            Err(Refused::new(self, GuestDmaError::StillMapped { blocks }))
        }
    }

    /// The address space.
    #[must_use]
    pub fn ioas(&self) -> &Ioas {
        &self.ioas
    }

    /// How regions are cut.
    #[must_use]
    pub fn blocks(&self) -> Blocks {
        self.books.blocks()
    }

    fn check_process(&self) -> Result<(), GuestDmaError> {
        Ok(self.ioas.iommufd().check_process()?)
    }

    /// Enters and maps all of `regions`, or none.
    fn add(&self, regions: Vec<Region>) -> Result<(), GuestDmaError> {
        self.check_process()?;
        let mut claims = self.books.enter(regions)?;
        match self.map_slots(&mut claims) {
            Ok(()) => {
                claims.into_iter().for_each(RegionClaim::stay);
                Ok(())
            }
            Err(BlockError { block, reason }) => {
                let mut left = Vec::new();
                for mut claim in claims.into_iter().rev() {
                    unmap_slots(&mut claim, &mut left, &mut Plainly);
                    claim.leave();
                }
                Err(GuestDmaError::MapRefused {
                    block,
                    reason,
                    left,
                })
            }
        }
    }

    fn map_slots(&self, claims: &mut [RegionClaim<'_>]) -> Result<(), BlockError> {
        for claim in claims {
            for index in 0..claim.slots.len() {
                self.map_slot(claim, index)?;
            }
        }
        Ok(())
    }

    /// Maps a block that is not mapped.
    fn map_slot(&self, claim: &mut RegionClaim<'_>, index: usize) -> Result<(), BlockError> {
        let Some((block, slot, region)) = claim.block(index) else {
            return Ok(());
        };
        let mapping = self.map(region, block);
        *slot = Slot::Mapped(mapping.map_err(|reason| BlockError { block, reason })?);
        Ok(())
    }

    /// Maps a block of the region at its own address.
    fn map(&self, region: &Region, block: GuestRange) -> Result<Mapping, Error> {
        let offset = |at: GuestAddress| {
            let bytes = at.0.saturating_sub(region.range.start().0);
            // A region has no more bytes than a `usize` counts.
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        let bytes = offset(block.start())..=offset(block.last());
        let memory = region.memory.slice(bytes)?;
        let iova = Iova::new(block.start().0);
        self.ioas.map_at(iova, memory, region.access)
    }
}

/// The region as it is entered in the books.
fn described<B: Bitmap + Send + Sync + 'static>(
    region: GuestRegion<B>,
    access: Access,
) -> Result<Region, GuestDmaError> {
    let range = region.range();
    if !region.permits(access) {
        return Err(GuestDmaError::Protected { range, access });
    }
    Ok(Region {
        memory: DmaSlice::from(Arc::new(region)),
        range,
        access,
    })
}

impl fmt::Debug for GuestDma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestDma")
            .field("ioas", &self.ioas)
            .field("blocks", &self.books.blocks())
            .finish_non_exhaustive()
    }
}
