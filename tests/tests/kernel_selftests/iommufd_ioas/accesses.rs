//! Accesses by the CPU, as those of emulated devices.

use std::ops::Range;
use std::sync::Arc;

use iommufd::{Access, DmaBuffer, DmaMemory, DmaSlice, HugePage, Iova, SharedBuffer};
use rustix::io::Errno;
use tests::accounted::pinned;
use tests::at::{PAGE, page, pages};
use tests::memory::Living;
use tests::mock::{MockAccess, check_pins};

use super::Fixture;
use crate::part::part;

const LEN: u64 = PAGE as u64;
const HUGE: usize = 2 << 20;

pub(super) fn access_domain_destory(mut fixture: Fixture) {
    // Pages of one huge page, at its end and in its middle, and of two.
    pinned_pages_stay(&mut fixture, HUGE / 2..HUGE);
    pinned_pages_stay(&mut fixture, HUGE / 4..HUGE / 2);
    pinned_pages_stay(&mut fixture, HUGE / 2..2 * HUGE);
    pinned_pages_stay(&mut fixture, 0..HUGE + HUGE / 2);
    // Linux 7.3 has a bug here that shows only if it takes pages one by one (`batch_skip_carry` does not free the place of
    // a run that it has skipped): it unmaps a half of a huge page, and warns of what the IOMMU makes of that.
    if fixture.limit.is_none() {
        pinned_pages_stay(&mut fixture, HUGE / 2..HUGE + HUGE / 2);
    }
}

/// Asserts that exactly the pages of `range`, which an access has pinned, stay pinned when the devices go.
fn pinned_pages_stay(fixture: &mut Fixture, range: Range<usize>) {
    let before = pinned();
    let memory = DmaBuffer::huge(2 * HUGE, HugePage::Size2M).unwrap().share();
    let whole = 2 * HUGE as u64;
    let mapping = fixture
        .ioas
        .map_at(page(0), &memory, Access::ReadWrite)
        .unwrap();
    fixture.domains.add();
    fixture.domains.assert_map(page(0), &*memory);
    assert_eq!(pinned() - before, whole);

    let access = MockAccess::pinning(&fixture.ioas).unwrap();
    let start = page(0).checked_add(range.start as u64).unwrap();
    let bytes = part(&*memory, range.clone());
    let pin = access.pin_exactly(start, bytes).unwrap();
    assert_eq!(pinned() - before, whole, "these pages were pinned already");
    let count = fixture.domains.len() - 1;
    while fixture.domains.len() > 1 {
        fixture.domains.remove_first();
        fixture.domains.assert_map(page(0), &*memory);
        assert_eq!(pinned() - before, whole);
    }
    fixture.domains.remove_last();
    assert_eq!(
        pinned() - before,
        range.len() as u64,
        "what the access has pinned"
    );
    // The pages are the same, and can be given to devices again.
    fixture.domains.add();
    fixture.domains.assert_map(page(0), &*memory);
    assert_eq!(pinned() - before, whole);
    fixture.domains.remove_last();
    access.unpin(pin).unwrap();
    assert_eq!(pinned(), before);
    for _ in 0..count {
        fixture.domains.add();
        fixture.domains.assert_map(page(0), &*memory);
    }
    mapping.unmap().unwrap();
    assert_eq!(pinned(), before);
    DmaBuffer::reclaim(memory).unwrap();
}

pub(super) fn access_pin(mut fixture: Fixture) {
    let fd = fixture.iommufd.clone();
    let living = Living::new();
    let reader = MockAccess::new(&fixture.ioas).unwrap();
    let access = MockAccess::pinning(&fixture.ioas).unwrap();
    let at = page(0);
    for count in 1..=16 {
        let len = count as usize * PAGE;
        let memory = living.memory(len);
        let mapping = fixture.ioas.map_at(at, &memory, Access::ReadWrite).unwrap();
        let has = |times| assert_eq!(check_pins(&fd, memory.bytes(), times), Ok(()), "{count}");
        let usual = u32::from(!fixture.domains.is_empty());
        has(usual);
        // A page is pinned once, however many there are who need it.
        let first = access.pin_exactly(at, memory.bytes()).unwrap();
        has(1);
        let second = access.pin_exactly(at, memory.bytes()).unwrap();
        has(1);
        fixture.domains.add();
        fixture.domains.assert_map(at, &*memory);
        has(1);
        access.unpin(first).unwrap();
        has(1);
        fixture.domains.remove_last();
        has(1);
        fixture.domains.assert_map(at, &*memory);
        // Some of the pages only: the others stay as they were.
        let last = part(&*memory, len - PAGE..len);
        let of_last = page(count - 1);
        let third = access.pin_exactly(of_last, last).unwrap();
        access.unpin(second).unwrap();
        assert_eq!(check_pins(&fd, last, 1), Ok(()));
        let rest = part(&*memory, 0..len - PAGE);
        assert_eq!(check_pins(&fd, rest, usual), Ok(()));
        fixture.domains.add();
        fixture.domains.assert_map(at, &*memory);
        has(1);
        fixture.domains.remove_last();
        assert_eq!(check_pins(&fd, rest, usual), Ok(()));
        access.unpin(third).unwrap();
        has(usual);

        // Pages that are others than they should be, and pages that there are not.
        let other = living.memory(len);
        let mixed_up = access.pin_exactly(at, other.bytes());
        assert_eq!(mixed_up.err(), Some(Errno::BADE));
        has(usual);
        for (from, pages) in [(count, 1), (0, count + 1), (count - 1, 2)] {
            let nothing = access.pin(page(from), pages * LEN);
            assert_eq!(nothing.err(), Some(Errno::NOENT));
            has(usual);
        }
        assert_eq!(reader.pin(at, LEN).err(), Some(Errno::OPNOTSUPP));
        assert_eq!(access.pin(at, 0).err(), Some(Errno::INVAL));
        mapping.unmap().unwrap();
        has(0);
    }
    // What may only be read is pinned for reading alone.
    let memory = living.memory(PAGE);
    let _mapping = fixture.ioas.map_at(at, &memory, Access::Read).unwrap();
    let pin = access.pin_exactly(at, memory.bytes()).unwrap();
    access.unpin(pin).unwrap();
    assert_eq!(access.pin(at, LEN).err(), Some(Errno::PERM));
}

pub(super) fn access_pin_unmap(fixture: Fixture) {
    let Fixture { domains, ioas, .. } = &fixture;
    let fd = &fixture.iommufd;
    let living = Living::new();
    let usual = u32::from(!domains.is_empty());
    let access = MockAccess::pinning(ioas).unwrap();
    let (low, high) = (living.memory(4 * PAGE), living.memory(4 * PAGE));
    let has = |memory, times| assert_eq!(check_pins(fd, memory, times), Ok(()));
    let below = ioas.map_at(page(0), &low, Access::ReadWrite).unwrap();
    let above = ioas.map_at(page(4), &high, Access::ReadWrite).unwrap();
    // All of the lower, all of both, the seam, some of the upper twice.
    let of_low = access.pin(page(0), 4 * LEN).unwrap();
    let of_both = access.pin(page(0), 8 * LEN).unwrap();
    let of_seam = access.pin(page(3), 2 * LEN).unwrap();
    let of_high = access.pin(page(6), LEN).unwrap();
    let again = access.pin(page(6), 2 * LEN).unwrap();
    has(low.bytes(), 1);
    has(high.bytes(), 1);

    // The access is told of an unmap, and unpins all that touches it.
    below.unmap().unwrap();
    has(low.bytes(), 0);
    has(part(&*high, 0..2 * PAGE), usual);
    has(part(&*high, 2 * PAGE..4 * PAGE), 1);
    domains.assert_map(page(4), &*high);
    for gone in [of_low, of_both, of_seam] {
        assert_eq!(access.unpin(gone), Err(Errno::NOENT));
    }
    // What did not touch it is still pinned.
    access.unpin(of_high).unwrap();
    has(part(&*high, 2 * PAGE..4 * PAGE), 1);
    above.unmap().unwrap();
    has(high.bytes(), 0);
    assert_eq!(access.unpin(again), Err(Errno::NOENT));

    // The same by an unmap of a range, and of everything.
    for all in [false, true] {
        let mappings = [0, 8].map(|at| ioas.map_at(page(at), &low, Access::ReadWrite).unwrap());
        let pins = [0, 2, 8].map(|at| access.pin(page(at), 2 * LEN).unwrap());
        has(part(&*low, 0..2 * PAGE), 2);
        let unmapped = if all {
            ioas.unmap_all()
        } else {
            ioas.unmap_range(pages(0, 64))
        };
        assert_eq!(unmapped.unwrap(), 8 * LEN);
        has(low.bytes(), 0);
        for pin in pins {
            assert_eq!(access.unpin(pin), Err(Errno::NOENT));
        }
        drop(mappings);
    }
    // And by the end of the access itself.
    let _mapping = ioas.map_at(page(0), &low, Access::ReadWrite).unwrap();
    let _pinned = access.pin(page(0), 4 * LEN).unwrap();
    has(low.bytes(), 1);
    drop(access);
    has(low.bytes(), usual);
}

pub(super) fn access_rw(fixture: Fixture) {
    let Fixture { domains, ioas, .. } = &fixture;
    // Two mappings side by side: to an access they are one.
    let (low, high) = (buffer(3 * PAGE), buffer(2 * PAGE));
    let _low = ioas.map_at(page(0), &low, Access::ReadWrite).unwrap();
    let _high = ioas.map_at(page(3), &high, Access::ReadWrite).unwrap();
    let access = MockAccess::new(ioas).unwrap();
    let range = Accessed {
        access: &access,
        start: page(0).get(),
        parts: vec![(low, 0, 3 * PAGE), (high, 0, 2 * PAGE)],
    };
    for start in [
        0,
        1,
        7,
        PAGE - 1,
        PAGE,
        3 * PAGE - 5,
        3 * PAGE,
        4 * PAGE + 9,
    ] {
        for len in [
            1,
            2,
            8,
            333,
            PAGE - 1,
            PAGE,
            PAGE + 1,
            2 * PAGE + 3,
            5 * PAGE,
        ] {
            range.goes_both_ways(start, len);
        }
    }
    domains.assert_map(page(0), &*range.parts[0].0);

    // What may not be done, or is not there.
    let memory = Living::new().filled(PAGE, 9);
    let _readable = ioas.map_at(page(16), &memory, Access::Read).unwrap();
    let _writable = ioas.map_at(page(17), &memory, Access::Write).unwrap();
    let mut bytes = [0; 16];
    access.read(page(16), &mut bytes).unwrap();
    assert_eq!(bytes, [9; 16]);
    assert_eq!(access.write(page(16), &[1; 16]), Err(Errno::PERM));
    assert_eq!(access.write_slowly(page(16), &[1; 16]), Err(Errno::PERM));
    assert_eq!(access.read(page(17), &mut bytes), Err(Errno::PERM));
    access.write(page(17), &[1; 16]).unwrap();
    access.read(page(16), &mut bytes).unwrap();
    assert_eq!(bytes, [1; 16]);
    for absent in [page(32), page(18)] {
        assert_eq!(access.read(absent, &mut bytes), Err(Errno::NOENT));
        assert_eq!(access.write(absent, &bytes), Err(Errno::NOENT));
    }
    // Not even from where something is.
    assert_eq!(access.read(page(17), &mut [0; PAGE + 1]), Err(Errno::PERM));
    assert_eq!(access.write(page(17), &[0; PAGE + 1]), Err(Errno::NOENT));
    assert_eq!(access.read(page(0), &mut []), Err(Errno::INVAL));
}

pub(super) fn access_rw_unaligned(fixture: Fixture) {
    let Fixture { ioas, .. } = &fixture;
    // As much off as the devices bear.
    let (off, len) = match ioas.iova_ranges().unwrap().alignment() {
        1 => (333, 3 * PAGE + 77),
        alignment => (alignment as usize, 3 * PAGE + alignment as usize),
    };
    for (of_iova, of_memory) in [(off, 0), (0, off), (off, off), (off, PAGE - off)] {
        let (low, high) = (buffer(5 * PAGE), buffer(5 * PAGE));
        let start = page(0).checked_add(of_iova as u64).unwrap();
        let next = start.checked_add(len as u64).unwrap();
        let slice = |memory| DmaSlice::new(memory, of_memory..of_memory + len).unwrap();
        // Where the second begins in its page follows from the first: it is off as well.
        let _low = ioas.map_at(start, slice(&low), Access::ReadWrite).unwrap();
        let _high = ioas.map_at(next, slice(&high), Access::ReadWrite).unwrap();
        let access = MockAccess::new(ioas).unwrap();
        let range = Accessed {
            access: &access,
            start: start.get(),
            parts: vec![(low, of_memory, len), (high, of_memory, len)],
        };
        for start in [0, PAGE - off, PAGE - 1, len - 1, len, len + PAGE] {
            for len in [1, off, PAGE + 1, 2 * len] {
                range.goes_both_ways(start, len);
            }
        }
    }
}

fn buffer(len: usize) -> Arc<SharedBuffer> {
    DmaBuffer::new(len).unwrap().share()
}

/// Parts of buffers that are mapped one behind the other.
struct Accessed<'a> {
    access: &'a MockAccess,
    start: u64,
    /// Buffers, with where in it and how long each part is.
    parts: Vec<(Arc<SharedBuffer>, usize, usize)>,
}

impl Accessed<'_> {
    /// Asserts that what is written at one end is read at the other, in `len` bytes from `start` on, or as many as there
    /// are, and that no byte beside them changes.
    fn goes_both_ways(&self, start: usize, len: usize) {
        let total: usize = self.parts.iter().map(|(_, _, len)| len).sum();
        let range = start..(start + len).min(total);
        let iova = Iova::new(self.start + start as u64);
        let before: Vec<u8> = (0..=250).cycle().take(total).collect();
        let new = vec![0xfb; range.len()];
        let mut after = before.clone();
        after[range.clone()].copy_from_slice(&new);
        let mut seen = new.clone();
        for slowly in [false, true] {
            self.set(&before);
            let (read, written) = if slowly {
                (
                    self.access.read_slowly(iova, &mut seen),
                    self.access.write_slowly(iova, &new),
                )
            } else {
                (
                    self.access.read(iova, &mut seen),
                    self.access.write(iova, &new),
                )
            };
            assert_eq!(
                (read, written),
                (Ok(()), Ok(())),
                "{range:?} slowly: {slowly}"
            );
            assert!(seen == before[range.clone()], "{range:?} slowly: {slowly}");
            assert!(self.contents(total) == after, "{range:?} slowly: {slowly}");
        }
    }

    fn set(&self, mut bytes: &[u8]) {
        for (buffer, offset, len) in &self.parts {
            let (first, rest) = bytes.split_at(*len);
            buffer.write_bytes(*offset, first).unwrap();
            bytes = rest;
        }
    }

    fn contents(&self, total: usize) -> Vec<u8> {
        let mut all = vec![0; total];
        let mut rest = &mut all[..];
        for (buffer, offset, len) in &self.parts {
            let first = rest.split_off_mut(..*len).unwrap();
            buffer.read_bytes(*offset, first).unwrap();
        }
        all
    }
}
