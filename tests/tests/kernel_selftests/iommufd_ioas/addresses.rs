//! Which addresses there are, and which of them the kernel chooses.

use iommufd::{
    Access, DmaBuffer, DmaMemory, DmaSlice, FileRange, HugePage, HwPt, IovaRange, Mapping,
};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages, range};
use tests::memory::Living;
use tests::mock::{APERTURE, MockDevice, add_reserved};
use tests::raw::ranges::Answer;
use tests::{file, raw, refused};

use super::Fixture;
use crate::part::part;

const LEN: u64 = PAGE as u64;
const HUGE: u64 = 2 << 20;

pub(super) fn area_auto_iova(fixture: Fixture) {
    let Fixture { domains, ioas, .. } = &fixture;
    let (fd, id) = (&fixture.iommufd, fixture.id());
    // Of which it is known how it is aligned.
    let memory = DmaBuffer::huge(2 * HUGE as usize, HugePage::Size2M)
        .unwrap()
        .share();
    let base = memory.bytes().addr().get() as u64;
    assert!(base.is_multiple_of(HUGE));
    let of = |first: u64, count: u64| first as usize * PAGE..(first + count) as usize * PAGE;
    let auto = |first, count| {
        let slice = DmaSlice::new(&memory, of(first, count)).unwrap();
        ioas.map(slice, Access::Read)
    };
    let mut mapped: Vec<Mapping> = Vec::new();
    for count in [1, 2, 3, 4, 5, 8, 16, 31, 128, 512] {
        for first in [0, 1, 2, 3, 4, 16, 256, 511, 512] {
            let mapping = auto(first, count).unwrap();
            let start = mapping.iova().get();
            // As the length is, as the memory is, as a huge page is: so that these can be huge pages, too.
            let of_memory = 1 << (base + first * LEN).trailing_zeros();
            let alignment = (count * LEN).next_power_of_two().min(of_memory).min(HUGE);
            assert!(
                start.is_multiple_of(alignment),
                "{first} {count}: {start:#x}"
            );
            assert_ne!(start, 0);
            let taken = |other: &Mapping| other.range().overlaps(mapping.range());
            assert!(!mapped.iter().any(taken), "{first} {count}: {start:#x}");
            domains.assert_map_bytes(mapping.iova(), part(&*memory, of(first, count)));
            mapped.push(mapping);
        }
    }
    assert!(domains.is_empty() || mapped.iter().all(|one| in_aperture(one.range())));
    mapped.clear();

    // Not where it is reserved: the first half of what was given out above.
    let reserved = pages(0, 1024);
    let first = auto(0, 1).unwrap();
    let start = first.iova().get();
    first.unmap().unwrap();
    let low = if domains.is_empty() {
        range(0, start + HUGE)
    } else {
        reserved
    };
    add_reserved(
        fd,
        id,
        low.start().get(),
        low.last().get() - low.start().get() + 1,
    )
    .unwrap();
    for count in [1, 16, 512] {
        let mapping = auto(0, count).unwrap();
        assert!(mapping.iova() > low.last(), "{count}: {mapping:?}");
        mapped.push(mapping);
    }
    mapped.clear();

    // Only where it is allowed, as long as there is room.
    let (few, more) = (pages(2048, 3), pages(4096, 16));
    ioas.allow_iovas(&[more, few]).unwrap();
    assert_eq!(auto(0, 1).unwrap().range(), pages(2048, 1));
    let three = auto(1, 3).unwrap();
    assert_eq!(three.range(), few, "it fits exactly");
    let sixteen = auto(16, 16).unwrap();
    assert_eq!(sixteen.range(), more);
    refused(auto(0, 1), Errno::NOSPC);
    drop((three, sixteen));
    refused(auto(0, 17), Errno::NOSPC);
    // What is asked for at a place is not kept to them.
    ioas.map_at(page(8192), &memory, Access::Read)
        .unwrap()
        .unmap()
        .unwrap();
    ioas.allow_iovas(&[]).unwrap();
    auto(0, 17).unwrap().unmap().unwrap();
}

pub(super) fn reserved_overflow(fixture: Fixture) {
    let Fixture { domains, ioas, .. } = &fixture;
    let (fd, id) = (&fixture.iommufd, fixture.id());
    let huge = DmaBuffer::huge(HUGE as usize, HugePage::Size2M)
        .unwrap()
        .share();
    let (one, two) = (Living::new().memory(PAGE), Living::new().memory(2 * PAGE));
    let room = 0_u64.wrapping_sub(4 * LEN);
    // All but the last four pages of all. What is aligned up from there is beyond the end.
    add_reserved(fd, id, 0, room).unwrap();
    refused(ioas.map(&huge, Access::Read), Errno::NOSPC);
    let mut last = Vec::new();
    if domains.is_empty() {
        // The very last page is never chosen.
        for (memory, at) in [(&two, room), (&one, room + 2 * LEN)] {
            let mapping = ioas.map(memory, Access::Read).unwrap();
            assert_eq!(mapping.iova().get(), at);
            last.push(mapping);
        }
    }
    refused(ioas.map(&one, Access::Read), Errno::NOSPC);
    // Lengths that are no memory's.
    let file = file::memfd(PAGE);
    for (len, errno) in [
        ((1 << 63) - LEN, Errno::NOSPC),
        (1 << 63, Errno::OVERFLOW),
        (u64::MAX, Errno::OVERFLOW),
    ] {
        let endless = FileRange::new(&file, 0..len);
        refused(ioas.map_file(endless, Access::Read), errno);
    }
    for (start, len, errno) in [
        (u64::MAX, 2, Errno::OVERFLOW),
        (LEN, u64::MAX, Errno::OVERFLOW),
        (LEN, 0, Errno::INVAL),
    ] {
        assert_eq!(
            add_reserved(fd, id, start, len),
            Err(errno),
            "{start:#x} {len:#x}"
        );
    }
}

pub(super) fn area_allowed(fixture: Fixture) {
    let Fixture { domains, ioas, .. } = &fixture;
    let (fd, id) = (&fixture.iommufd, fixture.id());
    let reserve = |of: IovaRange| add_reserved(fd, id, of.start().get(), of.len().unwrap());
    // What is allowed is not reserved any more.
    let allowed = pages(16, 16);
    ioas.allow_iovas(&[allowed]).unwrap();
    for touching in [
        allowed,
        pages(0, 17),
        pages(31, 1),
        pages(0, 64),
        pages(20, 1),
    ] {
        assert_eq!(reserve(touching), Err(Errno::ADDRINUSE), "{touching}");
    }
    let beside = [pages(15, 1), pages(32, 4)];
    for range in beside {
        reserve(range).unwrap();
    }
    // What is reserved is not allowed any more, and the list stays as it was.
    for touching in [beside[0], pages(0, 16), pages(14, 64)] {
        refused(
            ioas.allow_iovas(&[pages(256, 1), touching]),
            Errno::ADDRINUSE,
        );
    }
    let memory = Living::new().memory(16 * PAGE);
    let mapping = ioas.map(&memory, Access::Read).unwrap();
    assert_eq!(mapping.range(), allowed);
    domains.assert_map(mapping.iova(), &*memory);
    // What is mapped is not reserved either, allowed or not.
    ioas.allow_iovas(&[]).unwrap();
    assert_eq!(reserve(pages(20, 1)), Err(Errno::ADDRINUSE));
    mapping.unmap().unwrap();
    reserve(pages(20, 1)).unwrap();

    // Lists that are none.
    let lists = [
        vec![pages(64, 2), pages(65, 2)],
        vec![pages(64, 2), pages(64, 2)],
        vec![range(APERTURE.0, APERTURE.0)],
    ];
    for list in &lists {
        refused(ioas.allow_iovas(list), Errno::INVAL);
    }
    // A device that cannot translate what is allowed is not attached, nor does it get a table.
    let outside = range(APERTURE.1 + 1, APERTURE.1 + LEN);
    if domains.is_empty() {
        ioas.allow_iovas(&[outside]).unwrap();
        let device = MockDevice::new(fd).unwrap();
        refused(device.attach(ioas), Errno::ADDRINUSE);
        refused(HwPt::new(ioas, &device), Errno::ADDRINUSE);
        ioas.allow_iovas(&[pages(64, 1)]).unwrap();
        device.attach(ioas).unwrap().detach().unwrap();
    } else {
        refused(ioas.allow_iovas(&[outside]), Errno::ADDRINUSE);
    }
}

pub(super) fn iova_ranges(mut fixture: Fixture) {
    let (fd, id) = (fixture.iommufd.clone(), fixture.id());
    let everything = (0, u64::MAX);
    let (usable, alignment) = if fixture.domains.is_empty() {
        (everything, 1)
    } else {
        (APERTURE, tests::mock::PAGE)
    };
    let ask = |room, reserved| raw::ranges::iova_ranges(&fd, id, room, reserved);
    let assert_ranges = |ranges: &[(u64, u64)], alignment: u64| {
        let count = u32::try_from(ranges.len()).unwrap();
        for room in 0..count + 3 {
            let answer = ask(room, 0);
            // As many as fit are there all the same.
            let fit = ranges.len().min(room as usize);
            let mut written = ranges[..fit].to_vec();
            written.resize(room as usize, (0, 0));
            let expected = Answer {
                result: if room < count {
                    Err(Errno::MSGSIZE)
                } else {
                    Ok(())
                },
                ranges: written,
                count,
                alignment,
            };
            assert_eq!(answer, expected, "room for {room}");
        }
        let answer = fixture.ioas.iova_ranges().unwrap();
        assert_eq!(answer.alignment(), alignment);
        let told: Vec<_> = answer
            .iter()
            .map(|range| (range.start().get(), range.last().get()))
            .collect();
        assert_eq!(told, ranges);
    };
    assert_ranges(&[usable], alignment);
    assert_eq!(ask(1, 1).result, Err(Errno::OPNOTSUPP));
    let none = raw::ranges::iova_ranges(&fd, 0, 1, 0);
    assert_eq!(none.result, Err(Errno::NOENT));

    // Holes in the middle, one of which grows.
    let middle = APERTURE.0 + 0x10_0000;
    add_reserved(&fd, id, middle, LEN).unwrap();
    let before = (usable.0, middle - 1);
    assert_ranges(&[before, (middle + LEN, usable.1)], alignment);
    add_reserved(&fd, id, middle + LEN / 2, LEN).unwrap();
    let after = middle + LEN + LEN / 2;
    assert_ranges(&[before, (after, usable.1)], alignment);
    let second = middle + 0x1000_0000;
    add_reserved(&fd, id, second, 1).unwrap();
    let (between, rest) = ((after, second - 1), (second + 1, usable.1));
    assert_ranges(&[before, between, rest], alignment);

    // What the devices could not translate can be used when they are gone.
    fixture.domains.remove_all();
    let ranges = [(0, before.1), between, (rest.0, u64::MAX)];
    let answer = ask(3, 0);
    assert_eq!((answer.result, answer.alignment), (Ok(()), 1));
    assert_eq!(answer.ranges, ranges);
}

pub(super) fn ioas_iova_alloc(fixture: Fixture) {
    let Fixture { domains, ioas, .. } = &fixture;
    let alignment = ioas.iova_ranges().unwrap().alignment() as usize;
    let memory = Living::new().memory(2 * PAGE);
    for len in 1..=2 * PAGE {
        let slice = DmaSlice::new(&memory, ..len).unwrap();
        let mapped = ioas.map(slice, Access::ReadWrite);
        if len % alignment != 0 {
            refused(mapped, Errno::INVAL);
            continue;
        }
        let mapping = mapped.unwrap();
        assert_eq!(mapping.len(), len as u64);
        let start = mapping.iova().get();
        let expected = (len as u64).next_power_of_two().min(LEN);
        assert!(start.is_multiple_of(expected), "{len}: {start:#x}");
        assert_ne!(start, 0);
        domains.assert_map_bytes(mapping.iova(), part(&*memory, 0..len));
        mapping.unmap().unwrap();
    }
}

fn in_aperture(of: IovaRange) -> bool {
    range(APERTURE.0, APERTURE.1).contains(of)
}
