//! Guest memory that is unmapped while what devices write is recorded.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests, but for what they have in common"
)]

use iommufd::vm_memory::{BlockState, GuestDma, GuestDmaError, GuestRange, GuestRegion};
use iommufd::{Access, DirtyBitmap, DirtyTracking, Error, Granule, HwPt, Ioas, Iommufd};
use rustix::io::Errno;
use tests::dirty::{trackable, write_at};
use tests::guest_memory::{BLOCK, anonymous, at, block_size, blocks, iova};
use tests::mock::{MockDevice, MockQueue};
use tests::observe::Recorder;

const GET: &str = "IOMMU_HWPT_GET_DIRTY_BITMAP";
const MAP: &str = "IOMMU_IOAS_MAP";
const UNMAP: &str = "IOMMU_IOAS_UNMAP";

/// A guest of four blocks, and a page table of it.
struct Guest {
    dma: GuestDma,
    hwpt: HwPt,
    ioas: Ioas,
    device: MockDevice,
}

impl Guest {
    fn within(iommufd: &Iommufd) -> Self {
        let device = MockDevice::new(iommufd).unwrap();
        let ioas = Ioas::new(iommufd).unwrap();
        let hwpt = trackable(&ioas, &device).unwrap();
        let dma = GuestDma::new(&ioas, block_size());
        let region = GuestRegion::new(&anonymous(blocks(0, 4))).unwrap();
        dma.add_region(region, Access::ReadWrite).unwrap();
        Self {
            dma,
            hwpt,
            ioas,
            device,
        }
    }

    /// A device writes to the first page of each of these blocks.
    fn write(&self, blocks: impl IntoIterator<Item = u64>) {
        for n in blocks {
            write_at(&self.hwpt, iova(at(n)));
        }
    }
}

/// A clean bitmap, with a bit for each block.
fn bitmap(range: GuestRange) -> DirtyBitmap {
    DirtyBitmap::new(range.into(), Granule::new(BLOCK).unwrap()).unwrap()
}

/// The blocks that are dirty.
fn dirty(bitmap: &DirtyBitmap) -> Vec<u64> {
    (0..4)
        .filter(|n| bitmap.is_dirty(iova(at(*n))) == Some(true))
        .collect()
}

/// The blocks that are dirty in the page table.
fn look(tracking: &DirtyTracking) -> Vec<u64> {
    let mut found = bitmap(blocks(0, 4));
    tracking.read(&mut found).unwrap();
    dirty(&found)
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_block_is_read_before_it_is_unmapped() {
    let (iommufd, recorder) = Recorder::context();
    let guest = Guest::within(&iommufd);
    let tracking = guest.hwpt.track_dirty().unwrap();
    guest.write([1, 2]);
    let mut found = bitmap(blocks(0, 4));
    recorder.clear();
    let block = guest.dma.unmap_block_reading_dirty(at(1), &mut found);
    assert_eq!(block.unwrap(), blocks(1, 1));
    assert_eq!(recorder.calls(), [GET, UNMAP]);
    assert_eq!(dirty(&found), [1]);
    assert_eq!(look(&tracking), [2]);
    // Unmapped plainly it takes its bits along.
    guest.dma.unmap_block(at(2)).unwrap();
    assert_eq!((dirty(&found), look(&tracking)), (vec![1], vec![]));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_region_and_a_guest_are_read_before_they_are_unmapped() {
    let (iommufd, recorder) = Recorder::context();
    for all in [false, true] {
        let guest = Guest::within(&iommufd);
        let _tracking = guest.hwpt.track_dirty().unwrap();
        guest.write([0, 3]);
        let mut found = bitmap(blocks(0, 4));
        recorder.clear();
        if all {
            guest.dma.unmap_all_reading_dirty(&mut found).unwrap();
        } else {
            let removed = guest.dma.remove_region_reading_dirty(at(0), &mut found);
            removed.unwrap();
            assert_eq!(guest.dma.regions(), []);
        }
        assert_eq!(recorder.calls(), [GET, UNMAP].repeat(4));
        assert_eq!(dirty(&found), [0, 3]);
        assert_eq!(guest.ioas.mapped(), tests::at::mapped(0, 0));
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_region_that_cannot_be_removed_loses_no_bit() {
    let (iommufd, recorder) = Recorder::context();
    let guest = Guest::within(&iommufd);
    let tracking = guest.hwpt.track_dirty().unwrap();
    let queue = MockQueue::at(&guest.device, &guest.ioas, iova(at(2))).unwrap();
    guest.write([0, 2, 3]);
    let mut found = bitmap(blocks(0, 4));
    recorder.clear();
    let refused = guest.dma.remove_region_reading_dirty(at(0), &mut found);
    let error = refused.unwrap_err();
    assert_eq!(error.errno(), Some(Errno::BUSY));
    assert!(
        matches!(&error, GuestDmaError::UnmapRefused { block, missing, .. }
            if *block == blocks(2, 1) && missing.is_empty()),
        "{error}"
    );
    // What is busy is asked for again, with nothing else under way.
    assert_eq!(
        recorder.calls(),
        [GET, UNMAP, GET, UNMAP, GET, UNMAP, UNMAP, MAP, MAP]
    );
    // What was mapped again is clean in the table: its bit is here.
    assert_eq!(dirty(&found), [0, 2]);
    assert_eq!(look(&tracking), [2, 3]);

    drop(queue);
    let removed = guest.dma.remove_region_reading_dirty(at(0), &mut found);
    removed.unwrap();
    assert_eq!(dirty(&found), [0, 2, 3]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_cannot_be_read_is_refused_before_anything_is_unmapped() {
    let (iommufd, recorder) = Recorder::context();
    let guest = Guest::within(&iommufd);
    let dma = &guest.dma;
    let mut all = bitmap(blocks(0, 4));
    recorder.clear();
    for refused in [
        dma.unmap_block_reading_dirty(at(1), &mut all).map(drop),
        dma.remove_region_reading_dirty(at(0), &mut all),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(
                refused,
                GuestDmaError::UnmapRefused {
                    reason: Error::NotTracked,
                    ..
                }
            ),
            "{refused}"
        );
    }
    let _tracking = guest.hwpt.track_dirty().unwrap();
    let mut short = bitmap(blocks(0, 3));
    recorder.clear();
    let refused = dma.remove_region_reading_dirty(at(0), &mut short);
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, GuestDmaError::UnmapRefused { block, reason: Error::NotCovered { .. }, .. }
            if *block == blocks(3, 1)),
        "{refused}"
    );
    assert_eq!(recorder.count(), 0);
    for n in 0..4 {
        assert_eq!(dma.block_at(at(n)).unwrap().state, BlockState::Mapped);
    }
    // What is not mapped needs no bits.
    dma.unmap_block(at(3)).unwrap();
    dma.remove_region_reading_dirty(at(0), &mut short).unwrap();
}
