//! Fixture `vfio_compat_mock_domain`: an address space with a device, used as a VFIO container of type 1.

#![expect(non_snake_case, reason = "the kernel's names of the variants")]

use std::sync::Arc;

use iommufd::{DmaBuffer, DmaMemory, HugePage, Ioas, Iommufd, Iova};
use iommufd_sys::iommufd as sys;
use iommufd_sys::vfio;
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::memory::Living;
use tests::mock::{self, APERTURE, MockAccess, add_reserved};
use tests::raw::{self, compat};
use tests::{accounted, ids};

use crate::domains::Domains;
use crate::part::part;

per_variant! {
    Fixture [Ver1v2, Ver1v0]: simple_close, option_huge_pages, get_info, map, huge_map
}

const LEN: u64 = PAGE as u64;
const READ: u32 = vfio::VFIO_DMA_MAP_FLAG_READ;
const WRITE: u32 = vfio::VFIO_DMA_MAP_FLAG_WRITE;
const ALL: u32 = vfio::VFIO_DMA_UNMAP_FLAG_ALL;

/// The context, as a container.
struct Fixture {
    domains: Domains,
    ioas: Ioas,
    iommufd: Iommufd,
    /// Of type 1, or of type 1v2.
    kind: u32,
}

impl Fixture {
    fn Ver1v2() -> Self {
        Self::new(vfio::VFIO_TYPE1v2_IOMMU)
    }

    fn Ver1v0() -> Self {
        Self::new(vfio::VFIO_TYPE1_IOMMU)
    }

    fn new(kind: u32) -> Self {
        let iommufd = Iommufd::open().unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let domains = Domains::new(&ioas, 1);
        iommufd.set_compat_ioas(&ioas).unwrap();
        compat::set_iommu(&iommufd, kind).unwrap();
        Self {
            domains,
            ioas,
            iommufd,
            kind,
        }
    }

    /// Whether mappings can be cut, as type 1 promised.
    fn cuts(&self) -> bool {
        self.kind == vfio::VFIO_TYPE1_IOMMU
    }

    fn map(&self, flags: u32, memory: &Arc<impl DmaMemory>, iova: Iova) -> Result<(), Errno> {
        compat::map_dma(&self.iommufd, 32, flags, memory, iova.get())
    }

    fn unmap(&self, iova: Iova, len: u64) -> Result<u64, Errno> {
        compat::unmap_dma(&self.iommufd, 24, 0, iova.get(), len)
    }

    fn unmap_all(&self) -> Result<u64, Errno> {
        compat::unmap_dma(&self.iommufd, 24, ALL, 0, 0)
    }
}

fn simple_close(fixture: Fixture) {
    let kind = fixture.kind;
    drop(fixture);
    let (devices, before) = (mock::devices(), accounted::pinned());
    let container = raw::open();
    let ioas = raw::ioas_alloc(&container).unwrap();
    mock::occupy(&container, ioas).unwrap();
    raw::vfio_ioas(&container, sys::IOMMU_VFIO_IOAS_SET, ioas).unwrap();
    compat::set_iommu(&container, kind).unwrap();
    let memory = Living::new().memory(PAGE);
    compat::map_dma(&container, 32, READ, &memory, page(0).get()).unwrap();
    assert_eq!(mock::devices(), devices + 1);
    assert_eq!(accounted::pinned() - before, LEN);
    drop(container);
    assert_eq!(mock::devices(), devices);
    assert_eq!(accounted::pinned(), before);
}

fn option_huge_pages(fixture: Fixture) {
    let state = || {
        let alignment = fixture.ioas.iova_ranges().unwrap().alignment();
        (fixture.ioas.huge_pages().unwrap(), alignment)
    };
    // What is in one huge page cannot be cut.
    let expected = if fixture.cuts() {
        (false, LEN)
    } else {
        (true, mock::PAGE)
    };
    assert_eq!(state(), expected);
    // The other kind does not give them back.
    compat::set_iommu(&fixture.iommufd, vfio::VFIO_TYPE1v2_IOMMU).unwrap();
    assert_eq!(state(), expected);
    // And this one takes them only as long as nothing is mapped.
    let memory = Living::new().memory(PAGE);
    fixture.map(READ, &memory, page(0)).unwrap();
    let again = compat::set_iommu(&fixture.iommufd, vfio::VFIO_TYPE1_IOMMU);
    assert_eq!(
        again,
        if fixture.cuts() {
            Ok(())
        } else {
            Err(Errno::INVAL)
        }
    );
    assert_eq!(state(), expected);
    fixture.unmap_all().unwrap();
    compat::set_iommu(&fixture.iommufd, vfio::VFIO_TYPE1_IOMMU).unwrap();
    assert_eq!(state(), (false, LEN));
}

fn get_info(fixture: Fixture) {
    assert_info(&fixture, &[APERTURE]);
    let middle = APERTURE.0 + 0x10_0000;
    let id = ids::of(&fixture.ioas);
    add_reserved(&fixture.iommufd, id, middle, LEN).unwrap();
    assert_info(
        &fixture,
        &[(APERTURE.0, middle - 1), (middle + LEN, APERTURE.1)],
    );
}

/// Asserts that the container tells of these ranges, whatever room it has.
fn assert_info(fixture: &Fixture, ranges: &[(u64, u64)]) {
    const POISON: u8 = 0xa5;
    // The structure, the capability with the number of mappings, and that with the ranges.
    const HEAD: usize = 24;
    const SECOND: usize = HEAD + 16;
    let total = SECOND + 16 + 16 * ranges.len();
    for argsz in 16..total + 32 {
        let mut info = vec![POISON; total + 64];
        compat::get_info(&fixture.iommufd, argsz as u32, &mut info).unwrap();
        let (told, beyond) = info.split_at(argsz);
        assert!(
            beyond.iter().all(|&byte| byte == POISON),
            "{argsz}: past the end"
        );
        let at32 = |at: usize| u32::from_ne_bytes(told[at..at + 4].try_into().unwrap());
        let at64 = |at: usize| u64::from_ne_bytes(told[at..at + 8].try_into().unwrap());

        assert_eq!(at32(0) as usize, total, "{argsz}: what it takes");
        assert_eq!(
            at32(4),
            vfio::VFIO_IOMMU_INFO_PGSIZES | vfio::VFIO_IOMMU_INFO_CAPS
        );
        let sizes = at64(8);
        assert!(sizes & LEN != 0 && sizes.is_multiple_of(LEN), "{sizes:#x}");
        if argsz < HEAD {
            continue;
        }
        let complete = argsz >= total;
        assert_eq!(
            at32(16) as usize,
            if complete { HEAD } else { 0 },
            "{argsz}"
        );
        // What fits is written all the same.
        let first = [
            vfio::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL | 1 << 16,
            SECOND as u32,
            u32::MAX,
        ];
        if argsz >= SECOND {
            assert_eq!(
                [at32(HEAD), at32(HEAD + 4), at32(HEAD + 8)],
                first,
                "{argsz}"
            );
        } else if argsz < HEAD + 12 {
            assert!(told[HEAD..].iter().all(|&byte| byte == POISON), "{argsz}");
        }
        if complete {
            let kind = vfio::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE | 1 << 16;
            let head = [SECOND, SECOND + 4, SECOND + 8].map(at32);
            assert_eq!(head, [kind, 0, ranges.len() as u32], "{argsz}: the last");
            for (n, range) in ranges.iter().enumerate() {
                let at = SECOND + 16 + 16 * n;
                assert_eq!((at64(at), at64(at + 8)), *range);
            }
        }
    }
}

fn map(fixture: Fixture) {
    let Fixture {
        domains, iommufd, ..
    } = &fixture;
    let living = Living::new();
    let memory = living.filled(2 * PAGE, 7);
    fixture.map(READ | WRITE, &memory, page(0)).unwrap();
    domains.assert_map(page(0), &*memory);
    domains.assert_pinned(1, &*memory);
    // What is there stays there.
    for over in [page(0), page(1)] {
        assert_eq!(fixture.map(READ, &memory, over), Err(Errno::EXIST));
    }
    for wrong in [page(4).get() + 1, APERTURE.0 - LEN, APERTURE.1 - LEN + 1] {
        let refused = fixture.map(READ, &memory, Iova::new(wrong));
        assert_eq!(refused, Err(Errno::INVAL), "{wrong:#x}");
    }
    assert_eq!(fixture.unmap(page(0), 2 * LEN), Ok(2 * LEN));
    domains.assert_lack(page(0), &*memory);
    domains.assert_pinned(0, &*memory);
    // Nothing is unmapped where there is nothing, which is no error here.
    assert_eq!(fixture.unmap(page(0), 2 * LEN), Ok(0));
    assert_eq!(fixture.unmap_all(), Ok(0));
    assert_eq!(fixture.unmap(page(0), 0), Err(Errno::INVAL));
    assert_eq!(
        fixture.unmap(Iova::new(u64::MAX - 1), LEN),
        Err(Errno::OVERFLOW)
    );

    // What a device may do is what was said.
    fixture.map(READ, &memory, page(0)).unwrap();
    fixture.map(WRITE, &memory, page(2)).unwrap();
    let access = MockAccess::new(&fixture.ioas).unwrap();
    let mut seen = [0; 4];
    access.read(page(0), &mut seen).unwrap();
    assert_eq!(seen, [7; 4]);
    assert_eq!(access.write(page(0), &seen), Err(Errno::PERM));
    assert_eq!(access.read(page(2), &mut seen), Err(Errno::PERM));
    access.write(page(2), &[8; 4]).unwrap();
    access.read(page(0), &mut seen).unwrap();
    assert_eq!(seen, [8; 4]);
    drop(access);

    // Several at once.
    domains.assert_pinned(2, &*memory);
    assert_eq!(fixture.unmap(page(0), 16 * LEN), Ok(4 * LEN));
    for n in 0..5 {
        fixture.map(READ, &memory, page(8 * n)).unwrap();
    }
    domains.assert_pinned(5, &*memory);
    for (iova, len) in [(0, LEN), (LEN, 0), (page(0).get(), 2 * LEN)] {
        let limited = compat::unmap_dma(iommufd, 24, ALL, iova, len);
        assert_eq!(limited, Err(Errno::INVAL));
    }
    assert_eq!(fixture.unmap_all(), Ok(10 * LEN));
    domains.assert_pinned(0, &*memory);
}

fn huge_map(fixture: Fixture) {
    const HUGE: usize = 2 << 20;
    let domains = &fixture.domains;
    let before = accounted::pinned();
    let count = || accounted::pinned() - before;
    let memory = DmaBuffer::huge(HUGE, HugePage::Size2M).unwrap().share();
    let all = HUGE as u64;
    fixture.map(READ | WRITE, &memory, page(0)).unwrap();
    domains.assert_map(page(0), &*memory);
    assert_eq!(count(), all);
    let cut = |first: u64, pages: u64| fixture.unmap(page(first), pages * LEN);
    if !fixture.cuts() {
        for (first, pages) in [(0, 1), (511, 1), (100, 100), (0, 511), (1, 512)] {
            assert_eq!(cut(first, pages), Err(Errno::NOENT), "{first} {pages}");
        }
        domains.assert_map(page(0), &*memory);
        assert_eq!(count(), all);
        assert_eq!(fixture.unmap(page(0), all), Ok(all));
        assert_eq!(count(), 0);
        return;
    }
    // Each is gone, and what is beside it stays. The last one reaches beyond the mapping.
    let mut left = vec![true; 512];
    let mut pages_left = 512;
    for (first, pages) in [
        (0, 1),
        (511, 1),
        (100, 100),
        (201, 1),
        (300, 1),
        (1, 2),
        (400, 200),
    ] {
        let range = first as usize..(first + pages).min(512) as usize;
        let gone = left[range.clone()].iter().filter(|there| **there).count();
        left[range].fill(false);
        pages_left -= gone;
        assert_eq!(cut(first, pages), Ok(gone as u64 * LEN), "{first} {pages}");
        assert_eq!(count(), pages_left as u64 * LEN);
        for (n, there) in left.iter().enumerate() {
            let bytes = part(&*memory, n * PAGE..(n + 1) * PAGE);
            for one in domains.iter() {
                let found = one.device.check_map(page(n as u64), bytes);
                let expected = if *there { Ok(()) } else { Err(Errno::INVAL) };
                assert_eq!(found, expected, "page {n} after {first} {pages}");
            }
        }
    }
    // Half pages are not cut, nor is what somebody has pinned.
    let half = Iova::new(page(50).get() + mock::PAGE);
    assert_eq!(fixture.unmap(half, LEN), Err(Errno::INVAL));
    let access = MockAccess::pinning(&fixture.ioas).unwrap();
    let pin = access.pin(page(50), LEN).unwrap();
    assert_eq!(cut(60, 1), Err(Errno::INVAL));
    access.unpin(pin).unwrap();
    assert_eq!(cut(60, 1), Ok(LEN));
    drop(access);
    let rest = (pages_left as u64 - 1) * LEN;
    assert_eq!(fixture.unmap_all(), Ok(rest));
    assert_eq!(count(), 0);
}
