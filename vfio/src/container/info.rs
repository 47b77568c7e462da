//! What a container says of itself.

use std::os::fd::BorrowedFd;

use iommufd::driver::Watch;
use iommufd::{Granule, Iova, IovaRange};
use iommufd_sys::ioctl::{ArgszArg, vfio as nr};
use iommufd_sys::vfio as sys;

use crate::buffer::AlignedBytes;
use crate::capability::{self, BrokenChain};
use crate::cause::refusal;
use crate::error::{Error, Result};
use crate::ioctl::{self, Audience};
use crate::query::{malformed, negotiate};

/// Page sizes, usable addresses and limits of a container, as they are with the groups that are in
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerInfo {
    /// The sizes of pages that all its IOMMUs have: bit `n` stands for `1 << n` bytes.
    pub page_sizes: u64,
    /// The addresses that can be mapped. Before Linux 5.4 nobody tells, and it is all of them.
    pub iova_ranges: Vec<IovaRange>,
    /// How many more mappings there may be, if the kernel tells. Since Linux 5.10.
    pub mappings_left: Option<u32>,
    /// How what devices write can be recorded, if it can. Since Linux 5.8; not where an address
    /// space stands in for the container: there a page table is
    /// [tracked](iommufd::HwPt::track_dirty).
    pub dirty: Option<DirtyLimits>,
}

/// How what devices write can be recorded in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirtyLimits {
    /// The sizes of pages for which there can be a bit: bit `n` stands for `1 << n` bytes.
    pub page_sizes: u64,
    /// How many bytes the bitmap of one mapping can have.
    pub max_bitmap_size: u64,
}

impl ContainerInfo {
    pub(super) fn of(fd: BorrowedFd<'_>, watch: &Watch) -> Result<Self> {
        let ioctl = &nr::IOMMU_GET_INFO;
        let question = sys::vfio_iommu_type1_info::sized();
        let answer = negotiate(ioctl.name(), size_of_val(&question), |room| {
            let mut answer = AlignedBytes::zeroed(room);
            answer
                .put(0, &question)
                .ok_or(malformed(ioctl.name(), "shorter than its own head"))?;
            ioctl::sized(fd, Audience::Context(watch), ioctl, &mut answer)
                .map_err(|errno| refusal(ioctl.describe(), errno))?;
            Ok(answer)
        })?;
        let head = answer
            .head()
            .ok_or(malformed(ioctl.name(), "shorter than its own head"))?;
        let info = Self::parse(answer.bytes(), &head).map_err(|reason| Error::BrokenChain {
            operation: ioctl.name(),
            reason,
        })?;
        match info.page_sizes {
            0 => Err(malformed(ioctl.name(), "no page has any size")),
            _ => Ok(info),
        }
    }

    fn parse(answer: &[u8], head: &sys::vfio_iommu_type1_info) -> Result<Self, BrokenChain> {
        let mut info = Self {
            page_sizes: match head.flags & sys::VFIO_IOMMU_INFO_PGSIZES {
                // Before there was the flag there was one size.
                0 => rustix::param::page_size() as u64,
                _ => head.iova_pgsizes,
            },
            iova_ranges: vec![IovaRange::ALL],
            mappings_left: None,
            dirty: None,
        };
        // The kernel fills in the offset only along with the flag.
        if head.flags & sys::VFIO_IOMMU_INFO_CAPS == 0 {
            return Ok(info);
        }
        for capability in capability::chain(answer, size_of_val(head), head.cap_offset)? {
            match u32::from(capability.id) {
                sys::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE => {
                    type Head = sys::vfio_iommu_type1_info_cap_iova_range;
                    let count = capability.read::<Head>()?.nr_iovas;
                    let ranges = capability.array::<Head, sys::vfio_iova_range>(count)?;
                    // Both ends belong to a range. One that is none is left out.
                    let ranges = ranges
                        .iter()
                        .filter_map(|raw| IovaRange::new(Iova::new(raw.start), Iova::new(raw.end)));
                    info.iova_ranges = ranges.collect();
                }
                sys::VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION => {
                    let raw: sys::vfio_iommu_type1_info_cap_migration = capability.read()?;
                    info.dirty = Some(DirtyLimits {
                        page_sizes: raw.pgsize_bitmap,
                        max_bitmap_size: raw.max_dirty_bitmap_size,
                    });
                }
                sys::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL => {
                    let raw: sys::vfio_iommu_type1_info_dma_avail = capability.read()?;
                    info.mappings_left = Some(raw.avail);
                }
                // Of a newer kernel.
                _ => {}
            }
        }
        Ok(info)
    }

    /// The smallest page: what address, length and place in memory of a mapping must be multiples of.
    #[must_use]
    pub fn smallest_page(&self) -> Granule {
        lowest(self.page_sizes)
    }

    /// Whether all of `range` can be mapped.
    #[must_use]
    pub fn contains(&self, range: IovaRange) -> bool {
        self.iova_ranges.iter().any(|usable| usable.contains(range))
    }
}

/// The lowest size of a set, of which `of` has seen that it has one.
pub(super) fn lowest(sizes: u64) -> Granule {
    Granule::new(sizes & sizes.wrapping_neg()).unwrap_or(Granule::KIB_4)
}

/// What an answer of these bytes says of a container.
#[cfg(fuzzing)]
pub(crate) fn answered(answer: &[u8]) -> Option<ContainerInfo> {
    let (head, _) = zerocopy::FromBytes::read_from_prefix(answer).ok()?;
    ContainerInfo::parse(answer, &head).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    const HEAD: usize = size_of::<sys::vfio_iommu_type1_info>();

    fn head(flags: u32, cap_offset: u32) -> sys::vfio_iommu_type1_info {
        let mut head = sys::vfio_iommu_type1_info::sized();
        head.flags = flags;
        head.iova_pgsizes = 0x4020_1000;
        head.cap_offset = cap_offset;
        head
    }

    fn header(id: u16, next: usize) -> sys::vfio_info_cap_header {
        sys::vfio_info_cap_header {
            id,
            version: 1,
            next: next as u32,
        }
    }

    /// The migration capability, the mappings that are left, and two ranges.
    fn answer(ranges: u32) -> Vec<u8> {
        let head = head(3, HEAD as u32);
        let migration = [0_u64, 0x1000, 0x1000_0000];
        let migration_at = HEAD + 8 + size_of_val(&migration);
        let ranges_at = migration_at + 16;
        [
            head.as_bytes(),
            header(2, migration_at).as_bytes(),
            migration.as_bytes(),
            header(3, ranges_at).as_bytes(),
            [65_535_u32, 0].as_bytes(),
            header(1, 0).as_bytes(),
            [ranges, 0].as_bytes(),
            [0_u64, 0xfedf_ffff, 0xfef0_0000, u64::MAX].as_bytes(),
        ]
        .concat()
    }

    #[test]
    fn an_answer_is_read_to_the_end_of_the_address_space() {
        let bytes = answer(2);
        let info = ContainerInfo::parse(&bytes, &head(3, HEAD as u32)).unwrap();
        assert_eq!(info.smallest_page(), Granule::KIB_4);
        assert_eq!(info.mappings_left, Some(65_535));
        let dirty = info.dirty.unwrap();
        assert_eq!((dirty.page_sizes, dirty.max_bitmap_size), (4096, 1 << 28));
        let ends: Vec<_> = info
            .iova_ranges
            .iter()
            .map(|range| (range.start().get(), range.last().get()))
            .collect();
        assert_eq!(ends, [(0, 0xfedf_ffff), (0xfef0_0000, u64::MAX)]);
        assert!(!info.contains(IovaRange::ALL));
    }

    #[test]
    fn more_ranges_than_there_is_room_for_are_refused() {
        for count in [3, u32::MAX] {
            let refused = ContainerInfo::parse(&answer(count), &head(3, HEAD as u32));
            assert_eq!(refused, Err(BrokenChain::Truncated));
        }
    }

    #[test]
    fn a_kernel_that_says_little_allows_everything() {
        let info = ContainerInfo::parse(&[0; HEAD], &head(1, 0xdead_beef)).unwrap();
        assert_eq!(info.iova_ranges, [IovaRange::ALL]);
        assert_eq!((info.mappings_left, info.dirty), (None, None));
        let info = ContainerInfo::parse(&[0; HEAD], &head(0, 0)).unwrap();
        assert_eq!(info.page_sizes, rustix::param::page_size() as u64);
    }
}
