//! What is read of what devices have written.

use iommufd::{DirtyBitmap, IovaRange};
use tests::at::range;
use tests::dirty::granule;
use zerocopy::IntoBytes;

use super::record::{NONE, edges, patterns, set};
use super::{Fixture, bitmaps, holes};

/// What becomes of the dirty bits in the page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Clear,
    Keep,
}

pub(super) fn get_dirty_bitmap(fixture: Fixture) {
    let tracking = fixture.space.hwpt.track_dirty().unwrap();
    let mapped = fixture.mapping.range();
    for (n, written) in patterns(fixture.count()).iter().enumerate() {
        let dirty = fixture.addresses(written);
        for place in fixture.in_turn(n, &PLACES) {
            fixture.write(written);
            place.check(mapped, &dirty, |bitmap| {
                tracking.read_and_clear(bitmap).unwrap();
            });
        }
        assert_eq!(fixture.take(&tracking), NONE);
    }
    bitmaps::reads(&fixture, Then::Clear);
    bitmaps::refusals(&fixture);
    holes::reads(&fixture, &tracking, Then::Clear);
}

pub(super) fn get_dirty_bitmap_no_clear(fixture: Fixture) {
    let tracking = fixture.space.hwpt.track_dirty().unwrap();
    let mapped = fixture.mapping.range();
    for (n, written) in patterns(fixture.count()).iter().enumerate() {
        let dirty = fixture.addresses(written);
        fixture.write(written);
        for place in fixture.in_turn(n, &PLACES) {
            place.check(mapped, &dirty, |bitmap| tracking.read(bitmap).unwrap());
        }
        assert_eq!(fixture.take(&tracking), *written, "as if nobody had looked");
        assert_eq!(fixture.look(&tracking), NONE);
    }
    bitmaps::reads(&fixture, Then::Keep);
    holes::reads(&fixture, &tracking, Then::Keep);

    // What it is for: the last read of what is then unmapped, with which its dirty bits go.
    let written = edges(fixture.count());
    fixture.write(&written);
    let dirty = fixture.addresses(&written);
    PLACES[0].check(mapped, &dirty, |bitmap| {
        fixture.mapping.unmap_reading_dirty(bitmap).unwrap();
    });
    PLACES[0].check(mapped, &[], |bitmap| tracking.read(bitmap).unwrap());
}

/// How a bitmap lies over what is mapped, and in memory.
#[derive(Debug)]
pub(super) struct Place {
    /// What a bit stands for.
    granule: u64,
    /// How many bytes before what is mapped it begins.
    before: u64,
    /// How many bytes behind it it ends.
    after: u64,
    /// How many words there are before its first.
    words: usize,
}

pub(super) const PLACES: [Place; 10] = {
    const fn place(granule: u64, before: u64, after: u64, words: usize) -> Place {
        Place {
            granule,
            before,
            after,
            words,
        }
    }
    [
        place(2048, 0, 0, 0),
        place(4096, 0, 0, 1),
        place(1 << 20, 0, 0, 2),
        // The first page is any bit of its word, ...
        place(2048, 2048, 2048 * 62, 3),
        place(4096, 4096 * 67, 4096, 511),
        place(2048, 2048 * 63, 0, 509),
        place(1 << 16, 3 << 16, (1 << 16) - 1, 7),
        // ... or does not begin with a bit (which makes no difference to what is dirty if a bit is no more than an entry), ...
        place(2048, 777, 333, 5),
        place(1024, (1 << 21) + 1, 1023, 6),
        // ... or has several.
        place(512, 512 * 5, 1, 1023),
    ]
};

impl Place {
    /// Asserts that `read` sets the bits of what is `dirty` of what is mapped, and that nothing else happens to the words.
    #[track_caller]
    pub(super) fn check(
        &self,
        mapped: IovaRange,
        dirty: &[IovaRange],
        read: impl FnOnce(&mut DirtyBitmap<&mut [u64]>),
    ) {
        // As if others had been dirty before.
        const FILLER: u64 = 1 << 37;
        let granule = granule(self.granule);
        let start = mapped.start().get() - self.before;
        let covered = range(start, mapped.last().get() + self.after);
        let count = DirtyBitmap::words_needed(covered, granule).unwrap();
        let mut words = vec![FILLER; self.words + count + 3];
        let mut expected = words.clone();
        let own = expected[self.words..].as_mut_bytes();
        set(own, covered, self.granule, dirty);

        let (_, from) = words.split_at_mut(self.words);
        let mut bitmap = DirtyBitmap::over(covered, granule, from).unwrap();
        read(&mut bitmap);
        // They are many.
        assert!(words == expected, "{self:?}: {dirty:?}");
    }
}
