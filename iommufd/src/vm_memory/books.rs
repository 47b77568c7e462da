//! Which regions of guest memory there are, and which of their blocks are mapped.
//!
//! Nothing is asked of the kernel while the books are locked. Who maps or unmaps a block, or all
//! blocks of a region, takes them out of the books meanwhile (a claim); others find that they are
//! being changed. A claim puts back what it has when it is dropped, whatever happened in between.

use std::collections::BTreeMap;

use ::vm_memory::GuestAddress;
use parking_lot::Mutex;

use super::block::Blocks;
use super::error::GuestDmaError;
use super::range::GuestRange;
use crate::address::IovaRange;
use crate::map::Access;
use crate::mapping::Mapping;
use crate::memory::DmaSlice;

/// A block of guest memory, as it was when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestBlock {
    /// The guest's physical addresses of it.
    pub range: GuestRange,
    /// Whether devices reach it.
    pub state: BlockState,
}

impl GuestBlock {
    /// Where devices find it, if they reach it.
    #[must_use]
    pub fn iova(&self) -> Option<IovaRange> {
        (self.state == BlockState::Mapped).then_some(self.range.iova())
    }
}

/// Whether devices reach a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockState {
    /// They do.
    Mapped,
    /// They do not.
    Unmapped,
    /// A thread is mapping or unmapping it now.
    Changing,
}

/// What a region is, apart from what is mapped of it.
#[derive(Clone)]
pub(super) struct Region {
    pub(super) memory: DmaSlice,
    pub(super) range: GuestRange,
    pub(super) access: Access,
}

/// The regions of one guest, by address. None overlaps another.
pub(super) struct Books {
    blocks: Blocks,
    regions: Mutex<BTreeMap<GuestAddress, Entry>>,
}

struct Entry {
    region: Region,
    slots: Slots,
}

enum Slots {
    /// One for each block; `claimed` of them are claimed.
    Here { slots: Vec<Slot>, claimed: usize },
    /// The region as a whole is claimed.
    Away,
}

/// What the books know of a block.
pub(super) enum Slot {
    Unmapped,
    Mapped(Mapping),
    /// Somebody has claimed it.
    Claimed,
}

impl Slot {
    fn of(mapping: Option<Mapping>) -> Self {
        match mapping {
            Some(mapping) => Self::Mapped(mapping),
            None => Self::Unmapped,
        }
    }

    fn state(&self) -> BlockState {
        match self {
            Self::Unmapped => BlockState::Unmapped,
            Self::Mapped(_) => BlockState::Mapped,
            Self::Claimed => BlockState::Changing,
        }
    }

    pub(super) fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped(_))
    }

    /// The mapping, if there is one, which then leaves the slot unmapped.
    pub(super) fn take(&mut self) -> Option<Mapping> {
        match std::mem::replace(self, Self::Unmapped) {
            Self::Mapped(mapping) => Some(mapping),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Books {
    pub(super) fn new(blocks: Blocks) -> Self {
        Self {
            blocks,
            regions: Mutex::default(),
        }
    }

    pub(super) fn blocks(&self) -> Blocks {
        self.blocks
    }

    /// Enters all of `regions`, with nothing mapped, and claims them; or none.
    pub(super) fn enter(
        &self,
        regions: Vec<Region>,
    ) -> Result<Vec<RegionClaim<'_>>, GuestDmaError> {
        // Dropped after the lock: with the regions that were entered before one that overlaps.
        let mut claims = Vec::with_capacity(regions.len());
        for region in regions {
            let slots = (0..self.blocks.count(region.range))
                .map(|_| Slot::Unmapped)
                .collect();
            claims.push(self.enter_one(region, slots)?);
        }
        Ok(claims)
    }

    fn enter_one(
        &self,
        region: Region,
        slots: Vec<Slot>,
    ) -> Result<RegionClaim<'_>, GuestDmaError> {
        let range = region.range;
        let mut regions = self.regions.lock();
        // As none overlaps another, only the last that begins before the end can reach in.
        if let Some((_, before)) = regions.range(..=range.last()).next_back()
            && before.region.range.overlaps(range)
        {
            let other = before.region.range;
            return Err(GuestDmaError::Overlap { range, other });
        }
        let entry = Entry {
            region: region.clone(),
            slots: Slots::Away,
        };
        regions.insert(range.start(), entry);
        Ok(RegionClaim {
            books: self,
            region,
            slots,
            leaves: true,
        })
    }

    /// Claims the region that begins at `start`, with all its blocks.
    pub(super) fn claim_region(
        &self,
        start: GuestAddress,
    ) -> Result<RegionClaim<'_>, GuestDmaError> {
        let mut regions = self.regions.lock();
        let Some(entry) = regions.get_mut(&start) else {
            return Err(GuestDmaError::NoRegion { start });
        };
        match std::mem::replace(&mut entry.slots, Slots::Away) {
            Slots::Here { slots, claimed: 0 } => Ok(RegionClaim {
                books: self,
                region: entry.region.clone(),
                slots,
                leaves: false,
            }),
            others => {
                entry.slots = others;
                let range = entry.region.range;
                Err(GuestDmaError::Busy { range })
            }
        }
    }

    /// Claims the block that `at` belongs to.
    pub(super) fn claim_block(&self, at: GuestAddress) -> Result<BlockClaim<'_>, GuestDmaError> {
        let mut regions = self.regions.lock();
        let Some(entry) = covering(&mut regions, at) else {
            return Err(GuestDmaError::NoMemory { at });
        };
        let range = entry.region.range;
        let block = self.blocks.block(range, at);
        let busy = Err(GuestDmaError::Busy { range: block });
        let Slots::Here { slots, claimed } = &mut entry.slots else {
            return busy;
        };
        let mapping = match slots.get_mut(self.blocks.index(range, at)) {
            None | Some(Slot::Claimed) => return busy,
            Some(slot) => {
                let mapping = slot.take();
                *slot = Slot::Claimed;
                mapping
            }
        };
        *claimed += 1;
        Ok(BlockClaim {
            books: self,
            region: entry.region.clone(),
            block,
            mapping,
        })
    }

    /// The block that `at` belongs to, if there is memory.
    pub(super) fn find(&self, at: GuestAddress) -> Option<GuestBlock> {
        let mut regions = self.regions.lock();
        let entry = covering(&mut regions, at)?;
        let region = entry.region.range;
        let state = match &entry.slots {
            Slots::Away => BlockState::Changing,
            Slots::Here { slots, .. } => slots.get(self.blocks.index(region, at))?.state(),
        };
        Some(GuestBlock {
            range: self.blocks.block(region, at),
            state,
        })
    }

    pub(super) fn regions(&self) -> Vec<GuestRange> {
        let regions = self.regions.lock();
        regions.values().map(|entry| entry.region.range).collect()
    }
}

/// The region that `at` is in.
fn covering(regions: &mut BTreeMap<GuestAddress, Entry>, at: GuestAddress) -> Option<&mut Entry> {
    let (_, entry) = regions.range_mut(..=at).next_back()?;
    entry.region.range.contains(at).then_some(entry)
}

/// A region, taken out of the books to be changed; it is put back when this is dropped.
pub(super) struct RegionClaim<'b> {
    books: &'b Books,
    pub(super) region: Region,
    pub(super) slots: Vec<Slot>,
    /// If nothing of it is mapped, it is not put back.
    leaves: bool,
}

impl RegionClaim<'_> {
    /// The region stays in the books.
    pub(super) fn stay(mut self) {
        self.leaves = false;
    }

    /// The region leaves the books, unless something of it is mapped.
    pub(super) fn leave(mut self) {
        self.leaves = true;
    }

    /// The block number `index`, its slot, and the region.
    pub(super) fn block(&mut self, index: usize) -> Option<(GuestRange, &mut Slot, &Region)> {
        let block = self.books.blocks.nth(self.region.range, index)?;
        Some((block, self.slots.get_mut(index)?, &self.region))
    }
}

impl Drop for RegionClaim<'_> {
    fn drop(&mut self) {
        let goes = self.leaves && !self.slots.iter().any(Slot::is_mapped);
        let slots = std::mem::take(&mut self.slots);
        // Dropped after the lock: its memory can be the last of its kind.
        let _gone: Option<Entry>;
        let start = self.region.range.start();
        let mut regions = self.books.regions.lock();
        if goes {
            _gone = regions.remove(&start);
        } else if let Some(entry) = regions.get_mut(&start) {
            entry.slots = Slots::Here { slots, claimed: 0 };
        }
    }
}

/// A block, taken out of the books to be mapped or unmapped; it is put back when this is dropped.
pub(super) struct BlockClaim<'b> {
    books: &'b Books,
    pub(super) region: Region,
    pub(super) block: GuestRange,
    pub(super) mapping: Option<Mapping>,
}

impl Drop for BlockClaim<'_> {
    fn drop(&mut self) {
        let slot = Slot::of(self.mapping.take());
        let index = self
            .books
            .blocks
            .index(self.region.range, self.block.start());
        let mut regions = self.books.regions.lock();
        // It is there: a region with a claimed block cannot be claimed, and so does not go.
        if let Some(entry) = regions.get_mut(&self.region.range.start())
            && let Slots::Here { slots, claimed } = &mut entry.slots
            && let Some(place) = slots.get_mut(index)
        {
            *place = slot;
            *claimed = claimed.saturating_sub(1);
        }
    }
}
