//! The kernel's own bitmaps, for which the SDK does not ask: it has the kernel write to pages of its own.

use std::ops::Range;

use iommufd_sys::iommufd as sys;
use rustix::io::Errno;
use tests::at::PAGE;
use tests::raw::dirty::Request;
use tests::{ids, mock};

use super::Fixture;
use super::reading::Then;
use super::record::{NONE, cut, edges, patterns, set};

/// What the memory of a bitmap is full of: bits that were set before stay.
const FILLER: u8 = 0x40;

/// What is asked for, and where the bits are to go.
#[derive(Debug)]
struct Place {
    /// Which entries of the page table.
    entries: Range<u64>,
    /// What a bit stands for.
    page_size: u64,
    /// The offset of the first byte in its page.
    at: usize,
}

fn places(fixture: &Fixture) -> Vec<Place> {
    let count = fixture.count();
    let (whole, inner) = (0..count, 1..count - 1);
    let bytes = fixture.mapping.len().div_ceil(mock::PAGE * 8) as usize;
    // So that it ends with a page.
    let last = PAGE - bytes % PAGE;
    let place = |entries: &Range<u64>, page_size, at| Place {
        entries: entries.clone(),
        page_size,
        at,
    };
    vec![
        place(&whole, mock::PAGE, 0),
        place(&whole, mock::PAGE, 1),
        place(&whole, mock::PAGE, 7),
        place(&whole, mock::PAGE, 8),
        place(&whole, mock::PAGE, last),
        place(&whole, mock::PAGE, last - 1),
        place(&whole, mock::PAGE, PAGE - bytes.div_ceil(2) % PAGE),
        // All but the first byte is in the next page.
        place(&whole, mock::PAGE, PAGE - 1),
        place(&inner, mock::PAGE, 5),
        place(&inner, mock::PAGE, PAGE - 1),
        place(&whole, 512, 3),
        place(&whole, 4096, PAGE - 3),
        place(&whole, 8192, 2047),
        // No power of two: the kernel goes by 2048, and sets three times as many bits as there seem to be.
        place(&whole, 0x1800, 9),
    ]
}

/// Asserts that the kernel sets the right bits in bitmaps that begin and end at any byte, and no others.
pub(super) fn reads(fixture: &Fixture, then: Then) {
    let count = fixture.count();
    let places = places(fixture);
    let all = &places[0];
    for (n, written) in patterns(count).iter().enumerate() {
        for place in fixture.in_turn(n, &places) {
            fixture.write(written);
            fixture.ask(place, written, then);
            // What was not asked for stays dirty in any case.
            let left = match then {
                Then::Keep => written.clone(),
                Then::Clear => [0..place.entries.start, place.entries.end..count]
                    .iter()
                    .flat_map(|rest| cut(written, rest))
                    .collect(),
            };
            fixture.ask(all, &left, Then::Keep);
        }
        fixture.write(written);
        fixture.ask(all, written, Then::Clear);
        fixture.ask(all, &NONE, Then::Keep);
    }
}

/// Asserts that a request that makes no sense is refused and changes nothing; and shows one that is accepted.
pub(super) fn refusals(fixture: &Fixture) {
    let fd = &fixture.space.iommufd;
    let all = &places(fixture)[0];
    let written = edges(fixture.count());
    fixture.write(&written);
    let good = fixture.request(all);
    let refused = |request: Request, errno| {
        assert_eq!(request.bits_at(fd, 0, 0).err(), Some(errno), "{request:?}");
    };
    let keep = sys::IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR;
    for flags in [2, keep | 2, 1 << 31, !0] {
        refused(Request { flags, ..good }, Errno::OPNOTSUPP);
    }
    for reserved in [1, !0] {
        refused(Request { reserved, ..good }, Errno::OPNOTSUPP);
    }
    for hwpt in [0, 9999, ids::of(&fixture.space.ioas)] {
        refused(Request { hwpt, ..good }, Errno::NOENT);
    }
    let short = Request {
        length: mock::PAGE,
        ..good
    };
    // It begins and ends with a page of the IOMMU's, ...
    for off in [1, 512, 1024, 2047] {
        let (iova, length, page_size) = (good.iova + off, mock::PAGE - off, 1);
        refused(Request { iova, ..short }, Errno::INVAL);
        refused(Request { length, ..short }, Errno::INVAL);
        let finer = Request { page_size, ..short };
        refused(Request { iova, ..finer }, Errno::INVAL);
        refused(Request { length, ..finer }, Errno::INVAL);
    }
    // ... and with one of those that it is about.
    let second = Request {
        iova: good.iova + mock::PAGE,
        ..short
    };
    for page_size in [4096, 0x1800, 1 << 20, good.length * 2, 1 << 63, !0] {
        refused(
            Request {
                page_size,
                ..second
            },
            Errno::INVAL,
        );
    }
    let (length, page_size) = (0, 0);
    refused(Request { length, ..good }, Errno::INVAL);
    refused(Request { page_size, ..short }, Errno::INVAL);
    let (iova, length) = (u64::MAX - 2047, 4096);
    refused(
        Request {
            iova,
            length,
            ..good
        },
        Errno::OVERFLOW,
    );
    fixture.ask(all, &written, Then::Keep);

    // Where nothing can be written the kernel says that all is well, and what it has cleared is lost. So the SDK has it
    // write to memory that is there.
    assert_eq!(good.keeping().bits_nowhere(fd), Ok(()));
    fixture.ask(all, &written, Then::Keep);
    assert_eq!(good.bits_nowhere(fd), Ok(()));
    fixture.ask(all, &NONE, Then::Keep);
}

impl Fixture {
    fn request(&self, place: &Place) -> Request {
        let range = self.address(&place.entries);
        Request::of(ids::of(&self.space.hwpt), range, place.page_size)
    }

    /// Asserts that of what was written exactly what is asked for is told.
    #[track_caller]
    fn ask(&self, place: &Place, written: &[Range<u64>], then: Then) {
        let request = match then {
            Then::Clear => self.request(place),
            Then::Keep => self.request(place).keeping(),
        };
        let found = request.bits_at(&self.space.iommufd, place.at, FILLER);
        let found = found.unwrap();
        let mut expected = vec![FILLER; found.len()];
        let dirty = self.addresses(&cut(written, &place.entries));
        let range = self.address(&place.entries);
        let bitmap = &mut expected[place.at..];
        set(bitmap, range, request.granule(), &dirty);
        // They are many.
        assert!(found == expected, "{place:?}: {dirty:?}");
    }
}
