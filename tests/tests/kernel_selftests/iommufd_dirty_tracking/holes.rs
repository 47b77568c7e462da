//! Pages that are mapped one by one, with holes between them.

use iommufd::{Access, DirtyTracking, DmaSlice, Iova, IovaRange, Mapping};
use iommufd_sys::iommufd as sys;
use tests::at::{page, range};
use tests::dirty::{Space, write_at};
use tests::mock::nesting::Unnested;
use tests::mock::{self, abi};
use tests::raw::dirty::{Request, track_dirty};
use tests::{ids, raw};
use zerocopy::IntoBytes;

use super::reading::{PLACES, Then};
use super::{Fixture, MIB};
use crate::past;

/// The most pages that are mapped this way.
const MOST: usize = 24;

/// Asserts that each page is read as a whole, whatever is beside it, until it is unmapped.
pub(super) fn reads(fixture: &Fixture, tracking: &DirtyTracking, then: Then) {
    let mapped = map(fixture);
    let first = mapped[0].range();
    let last = mapped[mapped.len() - 1].range().last();
    let all = range(first.start().get(), last.get());
    let dirty: Vec<_> = (0..)
        .zip(&mapped)
        .filter(|(n, _)| n % 3 != 1)
        .map(|(_, page)| page.range())
        .collect();
    let write = || {
        for page in &dirty {
            let end = page.last().get() + 1;
            write_at(&fixture.space.hwpt, Iova::new(end - mock::PAGE));
        }
    };
    write();
    for place in &PLACES {
        if then == Then::Clear {
            write();
        }
        place.check(all, &dirty, |bitmap| match then {
            Then::Clear => tracking.read_and_clear(bitmap).unwrap(),
            Then::Keep => tracking.read(bitmap).unwrap(),
        });
    }
    let left = match then {
        Then::Clear => &[],
        Then::Keep => &dirty[..],
    };
    PLACES[0].check(all, left, |bitmap| tracking.read(bitmap).unwrap());

    // The kernel looks no further than to the first hole, and does not say so.
    write();
    let request = Request::of(ids::of(&fixture.space.hwpt), all, first.len().unwrap());
    let (request, left) = match then {
        Then::Clear => (request, &dirty[1..]),
        Then::Keep => (request.keeping(), &dirty[..]),
    };
    let found = request.bits_at(&fixture.space.iommufd, 0, 0).unwrap();
    assert_eq!(found[0], 1);
    assert!(found[1..].iter().all(|byte| *byte == 0));
    PLACES[0].check(all, left, |bitmap| tracking.read(bitmap).unwrap());
    if fixture.kind.page > MIB {
        in_a_table_of_another_kind(fixture, first);
    }

    write();
    let ioas = &fixture.space.ioas;
    PLACES[0].check(all, &dirty, |bitmap| match then {
        Then::Clear => {
            for page in mapped {
                page.unmap_reading_dirty(bitmap).unwrap();
            }
        }
        Then::Keep => {
            let bytes: u64 = mapped.iter().map(Mapping::len).sum();
            let unmapped = ioas.unmap_range_reading_dirty(all, bitmap);
            assert_eq!(unmapped.unwrap(), bytes);
        }
    });
    PLACES[0].check(all, &[], |bitmap| tracking.read(bitmap).unwrap());
}

/// Maps a page of memory, leaves a hole, maps two, leaves a hole, and so on. Each has an entry of its own in the page table.
fn map(fixture: &Fixture) -> Vec<Mapping> {
    let len = fixture.kind.page;
    let start = page(1 << 18);
    let map = |n: usize| {
        let memory = DmaSlice::new(&fixture.memory, n * len..(n + 1) * len).unwrap();
        let place = n + n.div_ceil(2);
        let at = start.checked_add((place * len) as u64).unwrap();
        let mapping = fixture.space.ioas.map_at(at, memory, Access::ReadWrite);
        mapping.unwrap()
    };
    let pages = fixture.memory.len() / len;
    (0..pages.min(MOST)).map(map).collect()
}

/// The mock has page tables of another kind, for which the SDK cannot ask: their entries have 1 MiB, or 4 KiB, so that a huge
/// page has two of them.
fn in_a_table_of_another_kind(fixture: &Fixture, huge: IovaRange) {
    const HALF: u64 = MIB as u64;
    let config = Unnested {
        iotlb: 0,
        pagetable_type: abi::PAGE_TABLE_HUGE,
    };
    let Space {
        ioas,
        iommufd,
        device,
        ..
    } = &fixture.space;
    let (dev, ioas) = (device.id(), ids::of(ioas));
    let table = past::table_with(iommufd, dev, ioas, config.as_bytes(), |arg| {
        arg.flags = sys::IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
    });
    let table = table.unwrap();
    track_dirty(iommufd, table).unwrap();
    let start = huge.start().get();
    let take = || {
        Request::of(table, huge, HALF)
            .bits_at(iommufd, 0, 0)
            .unwrap()[0]
    };
    for (at, halves) in [
        (0, 0b01),
        (HALF - mock::PAGE, 0b01),
        (HALF, 0b10),
        (2 * HALF - mock::PAGE, 0b10),
    ] {
        let range = (start + at, mock::PAGE);
        let written = mock::set_dirty(iommufd, table, range, mock::PAGE, &[1]);
        assert_eq!(written, Ok(1));
        assert_eq!((take(), take()), (halves, 0));
    }
    raw::destroy(iommufd, table).unwrap();
}
