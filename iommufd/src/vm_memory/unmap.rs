//! How blocks of guest memory are unmapped.

use super::books::{RegionClaim, Slot};
use super::error::BlockError;
use crate::address::IovaRange;
use crate::error::{Error, Refused};
use crate::mapping::Mapping;

/// A way to unmap.
pub(super) trait Unmap {
    /// Whether a mapping at `range` can be unmapped so, as far as that is known without doing it:
    /// of several mappings all are asked about before the first goes.
    fn check(&self, range: IovaRange) -> Result<(), Error>;

    fn unmap(&mut self, mapping: Mapping) -> Result<(), Refused<Mapping>>;
}

/// Nothing but that.
pub(super) struct Plainly;

impl Unmap for Plainly {
    fn check(&self, _: IovaRange) -> Result<(), Error> {
        Ok(())
    }

    fn unmap(&mut self, mapping: Mapping) -> Result<(), Refused<Mapping>> {
        mapping.unmap()
    }
}

/// Whether all that is mapped of the region can be unmapped so: see [`Unmap::check`].
pub(super) fn check_slots(claim: &mut RegionClaim<'_>, how: &impl Unmap) -> Result<(), BlockError> {
    for index in 0..claim.slots.len() {
        if let Some((block, slot, _)) = claim.block(index)
            && slot.is_mapped()
        {
            let refused = |reason| BlockError { block, reason };
            how.check(block.iova()).map_err(refused)?;
        }
    }
    Ok(())
}

/// Unmaps a block, and says whether it was mapped.
pub(super) fn unmap_slot(
    claim: &mut RegionClaim<'_>,
    index: usize,
    how: &mut impl Unmap,
) -> Result<bool, BlockError> {
    let Some((block, slot, _)) = claim.block(index) else {
        return Ok(false);
    };
    let Some(mapping) = slot.take() else {
        return Ok(false);
    };
    match how.unmap(mapping) {
        Ok(()) => Ok(true),
        Err(refused) => {
            let (mapping, reason) = refused.into_parts();
            *slot = Slot::Mapped(mapping);
            Err(BlockError { block, reason })
        }
    }
}

/// Unmaps all blocks that can be, last first, and adds those that cannot to `left`.
pub(super) fn unmap_slots(
    claim: &mut RegionClaim<'_>,
    left: &mut Vec<BlockError>,
    how: &mut impl Unmap,
) {
    for index in (0..claim.slots.len()).rev() {
        left.extend(unmap_slot(claim, index, how).err());
    }
}
