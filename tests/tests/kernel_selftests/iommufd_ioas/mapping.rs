//! Maps and unmaps at fixed addresses.

use iommufd::{Access, Error, Iova, IovaRange};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::memory::Living;
use tests::mock::APERTURE;
use tests::{raw, refused};

use super::Fixture;

const LEN: u64 = PAGE as u64;

pub(super) fn area(fixture: Fixture) {
    let Fixture { domains, ioas, .. } = &fixture;
    let (fd, id) = (&fixture.iommufd, fixture.id());
    let living = Living::new();
    let mut areas = Vec::new();
    for n in 0..10 {
        let memory = living.filled(2 * PAGE, 1);
        let at = page(16 * n);
        let mapping = ioas.map_at(at, &memory, Access::ReadWrite).unwrap();
        domains.assert_map(at, &*memory);
        domains.assert_pinned(1, &*memory);
        areas.push((mapping, memory));
    }
    for (n, (_, memory)) in areas.iter().enumerate() {
        let first = 16 * n as u64;
        // What touches it anywhere is refused.
        for over in [first, first + 1] {
            let again = ioas.map_at(page(over), living.memory(PAGE), Access::Read);
            refused(again, Errno::EXIST);
        }
        let over = ioas.map_at(page(first + 1), living.memory(2 * PAGE), Access::Read);
        refused(over, Errno::EXIST);
        // It is not split.
        for part in [first, first + 1] {
            let split = ioas.unmap_range(pages(part, 1)).unwrap_err();
            assert!(matches!(split, Error::PartlyCovered { .. }), "{split}");
            let split = raw::unmap(fd, id, page(part).get(), LEN);
            assert_eq!(split, Err(Errno::NOENT));
        }
        // Beside it there is nothing.
        let hole = ioas.unmap_range(pages(first + 2, 14)).unwrap_err();
        assert!(matches!(hole, Error::NothingMapped { .. }), "{hole}");
        let hole = raw::unmap(fd, id, page(first + 2).get(), 14 * LEN);
        assert_eq!(hole, Err(Errno::NOENT));
        domains.assert_map(page(first), &**memory);
        domains.assert_pinned(1, &**memory);
    }
    for (n, (mapping, memory)) in areas.into_iter().enumerate() {
        let at = page(16 * n as u64);
        mapping.unmap().unwrap();
        domains.assert_lack(at, &*memory);
        domains.assert_pinned(0, &*memory);
        assert_eq!(raw::unmap(fd, id, at.get(), 2 * LEN), Err(Errno::NOENT));
    }

    // Everything at once, and once more.
    let memory = living.memory(PAGE);
    let everything: Vec<_> = (0..10)
        .map(|n| ioas.map_at(page(16 * n), &memory, Access::Read).unwrap())
        .collect();
    domains.assert_pinned(10, &*memory);
    assert_eq!(ioas.unmap_all().unwrap(), 10 * LEN);
    domains.assert_pinned(0, &*memory);
    assert_eq!(ioas.unmap_all().unwrap(), 0);
    assert_eq!(raw::unmap(fd, id, 0, u64::MAX), Ok(0));
    drop(everything);

    // Ranges that are none.
    assert_eq!(raw::unmap(fd, id, 0, 0), Err(Errno::INVAL));
    for (iova, len) in [(u64::MAX, 1), (LEN, u64::MAX), (u64::MAX - 1, LEN)] {
        let overflow = raw::unmap(fd, id, iova, len);
        assert_eq!(overflow, Err(Errno::OVERFLOW), "{iova:#x} {len:#x}");
    }

    // Devices limit what there is: to the very page.
    let ends = [Iova::new(APERTURE.0 - LEN), Iova::new(APERTURE.1 + 1)];
    for beyond in ends {
        let mapped = ioas.map_at(beyond, &memory, Access::Read);
        if domains.is_empty() {
            mapped.unwrap().unmap().unwrap();
        } else {
            refused(mapped, Errno::INVAL);
        }
    }
    for within in [page(0), Iova::new(APERTURE.1 + 1 - LEN)] {
        let mapping = ioas.map_at(within, &memory, Access::Read).unwrap();
        domains.assert_map(within, &*memory);
        mapping.unmap().unwrap();
    }
    domains.assert_pinned(0, &*memory);
}

pub(super) fn unmap_fully_contained_areas(fixture: Fixture) {
    let Fixture { domains, ioas, .. } = &fixture;
    let living = Living::new();
    let memory = living.memory(2 * PAGE);
    let mappings: Vec<_> = (0..10)
        .map(|n| {
            ioas.map_at(page(16 * n), &memory, Access::ReadWrite)
                .unwrap()
        })
        .collect();
    domains.assert_pinned(10, &*memory);
    let from_to = |from: u64, to: u64| pages(from, to - from);

    // From within a hole into another: the three in between.
    assert_eq!(
        ioas.unmap_range(from_to(16 - 3, 3 * 16 + 5)).unwrap(),
        6 * LEN
    );
    domains.assert_pinned(7, &*memory);
    for (n, at) in (0..10).map(|n| (n, page(16 * n))) {
        if (1..=3).contains(&n) {
            domains.assert_lack(at, &*memory);
        } else {
            domains.assert_map(at, &*memory);
        }
    }
    // Exactly, with no hole around them.
    assert_eq!(
        ioas.unmap_range(from_to(4 * 16, 5 * 16 + 2)).unwrap(),
        4 * LEN
    );
    domains.assert_pinned(5, &*memory);

    // With one that is not in the range as a whole, at its start or at its end, none goes.
    for cut in [from_to(1, 7 * 16), from_to(6 * 16, 9 * 16 + 1)] {
        let error = ioas.unmap_range(cut).unwrap_err();
        assert!(matches!(error, Error::PartlyCovered { .. }), "{error}");
        domains.assert_pinned(5, &*memory);
    }
    // The kernel finds the cut when it comes there: what is below is gone by then.
    let (id, fd) = (fixture.id(), &fixture.iommufd);
    let cut = |range: IovaRange| raw::unmap(fd, id, range.start().get(), range.len().unwrap());
    assert_eq!(cut(from_to(1, 7 * 16)), Err(Errno::NOENT));
    domains.assert_pinned(5, &*memory);
    assert_eq!(cut(from_to(6 * 16, 9 * 16 + 1)), Err(Errno::NOENT));
    domains.assert_pinned(2, &*memory);
    domains.assert_map(page(0), &*memory);
    domains.assert_map(page(9 * 16), &*memory);

    // What was unmapped behind the SDK's back counts as its own; the memory is held until then.
    assert_eq!(living.count(), 1);
    drop(mappings);
    domains.assert_pinned(0, &*memory);
    assert_eq!(raw::unmap(fd, id, 0, u64::MAX), Ok(0));
    assert_eq!(fixture.iommufd.leaks(), iommufd::Leaks::default());
}
