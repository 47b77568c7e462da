//! How guest memory is cut into mappings.

use ::vm_memory::GuestAddress;

use super::range::GuestRange;

/// The size of a block of guest memory: a power of two, a page at the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockSize(u64);

impl BlockSize {
    /// 2 MiB: a huge page on most machines, and the usual block of virtio-mem.
    pub const SIZE_2M: Self = Self(2 << 20);
    /// 1 GiB.
    pub const SIZE_1G: Self = Self(1 << 30);

    /// Blocks of `bytes` bytes; `None` if that is no power of two, or less than a page of the
    /// system.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        let page = rustix::param::page_size() as u64;
        (bytes.is_power_of_two() && bytes >= page).then_some(Self(bytes))
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// How the regions of guest memory are cut into mappings.
///
/// The kernel unmaps whole mappings only: what is mapped in one piece goes in one piece. Small
/// blocks let go of little, as balloons and virtio-mem want it; each costs an ioctl to map, one to
/// unmap, and a small record here and in the kernel. Where a block is a multiple of a huge page,
/// they do not keep the IOMMU from using huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blocks {
    /// Each region is one mapping.
    Regions,
    /// Each region is cut where the guest's physical address is a multiple of the size. The first
    /// and the last block of a region are as much of a block as the region has.
    Of(BlockSize),
}

impl From<BlockSize> for Blocks {
    fn from(size: BlockSize) -> Self {
        Self::Of(size)
    }
}

impl Blocks {
    /// How many blocks `region` is cut into.
    pub(super) fn count(self, region: GuestRange) -> usize {
        self.index(region, region.last()).saturating_add(1)
    }

    /// Which block of `region` the address `at`, which is in it, belongs to.
    pub(super) fn index(self, region: GuestRange, at: GuestAddress) -> usize {
        match self {
            Self::Regions => 0,
            Self::Of(size) => {
                let first = region.start().0 / size.0;
                let blocks = (at.0 / size.0).saturating_sub(first);
                // As many as there are pages in the address space of this process, at most.
                usize::try_from(blocks).unwrap_or(usize::MAX)
            }
        }
    }

    /// The block of `region` that the address `at`, which is in it, belongs to.
    pub(super) fn block(self, region: GuestRange, at: GuestAddress) -> GuestRange {
        match self {
            Self::Regions => region,
            Self::Of(size) => {
                let offset = size.0 - 1;
                let start = (at.0 & !offset).max(region.start().0);
                let last = (at.0 | offset).min(region.last().0);
                // `start <= at <= last`, as `at` is in the region.
                GuestRange::new(GuestAddress(start), GuestAddress(last)).unwrap_or(region)
            }
        }
    }

    /// Block number `index` of `region`, if it has so many.
    pub(super) fn nth(self, region: GuestRange, index: usize) -> Option<GuestRange> {
        let at = match self {
            Self::Regions if index == 0 => region.start(),
            Self::Regions => return None,
            Self::Of(size) => {
                let number = (region.start().0 / size.0).checked_add(index as u64)?;
                GuestAddress(number.checked_mul(size.0)?).max(region.start())
            }
        };
        region.contains(at).then(|| self.block(region, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 1 << 16;

    fn range(start: u64, len: u64) -> GuestRange {
        GuestRange::with_len(GuestAddress(start), len).unwrap()
    }

    fn blocks(pages: u64) -> Blocks {
        BlockSize::new(pages * PAGE).unwrap().into()
    }

    /// Asserts that the blocks are these, and that every way to ask says so.
    #[track_caller]
    fn cut(blocks: Blocks, region: GuestRange, expected: &[GuestRange]) {
        assert_eq!(blocks.count(region), expected.len());
        assert_eq!(blocks.nth(region, expected.len()), None);
        assert_eq!(blocks.nth(region, usize::MAX), None);
        for (index, block) in expected.iter().enumerate() {
            assert_eq!(blocks.nth(region, index), Some(*block));
            for at in [block.start(), block.last()] {
                assert_eq!(blocks.index(region, at), index);
                assert_eq!(blocks.block(region, at), *block);
            }
        }
    }

    #[test]
    fn a_size_is_a_power_of_two_and_a_page_at_least() {
        for bytes in [0, 1, 3 * PAGE, u64::MAX, 512] {
            assert_eq!(BlockSize::new(bytes), None);
        }
        let page = rustix::param::page_size() as u64;
        assert_eq!(BlockSize::new(page).unwrap().bytes(), page);
        assert_eq!(BlockSize::new(1 << 63).unwrap().bytes(), 1 << 63);
        assert_eq!(BlockSize::new(2 << 20), Some(BlockSize::SIZE_2M));
        assert_eq!(BlockSize::new(1 << 30), Some(BlockSize::SIZE_1G));
    }

    #[test]
    fn a_region_is_cut_at_multiples_of_the_size() {
        let region = range(4 * PAGE, 8 * PAGE);
        cut(
            blocks(4),
            region,
            &[range(4 * PAGE, 4 * PAGE), range(8 * PAGE, 4 * PAGE)],
        );
        cut(blocks(16), region, &[region]);
        cut(Blocks::Regions, region, &[region]);
    }

    #[test]
    fn a_region_that_ends_within_a_block_has_shorter_ones_there() {
        cut(
            blocks(4),
            range(3 * PAGE, 6 * PAGE),
            &[
                range(3 * PAGE, PAGE),
                range(4 * PAGE, 4 * PAGE),
                range(8 * PAGE, PAGE),
            ],
        );
        cut(blocks(4), range(5, 10), &[range(5, 10)]);
        cut(
            blocks(1),
            range(PAGE - 1, 2),
            &[range(PAGE - 1, 1), range(PAGE, 1)],
        );
    }

    #[test]
    fn a_region_can_end_at_the_last_address() {
        let first = u64::MAX - 2 * PAGE + 1;
        cut(
            blocks(1),
            range(first, 2 * PAGE),
            &[range(first, PAGE), range(first + PAGE, PAGE)],
        );
        let all = GuestRange::new(GuestAddress(0), GuestAddress(u64::MAX)).unwrap();
        let half = BlockSize::new(1 << 63).unwrap();
        cut(
            half.into(),
            all,
            &[range(0, 1 << 63), range(1 << 63, 1 << 63)],
        );
    }
}
