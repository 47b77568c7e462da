//! Which pages a device finds.

use std::sync::Arc;

use iommufd::{
    Access, DmaMemory, DmaSlice, FileRange, HugePage, Ioas, Iova, Mapping, SharedBuffer,
};
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::fork::beside;
use tests::mock::MockAccess;
use tests::torn::Torn;
use tests::{file, refused};

use super::Fixture;
use crate::part::part;

pub(super) fn basic(fixture: Fixture) {
    let Fixture {
        domains,
        ioas,
        kind,
        ..
    } = &fixture;
    let memory = kind.shared(2);
    let len = memory.len();
    for fixed in [true, false] {
        let mapping = if fixed {
            ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap()
        } else {
            ioas.map(&memory, Access::ReadWrite).unwrap()
        };
        let at = mapping.iova();
        domains.assert_map(at, &*memory);
        assert_eq!(fixture.pinned(), len as u64);
        // These are the pages that the process has.
        memory.write(len - 8, 0x0123_4567_89ab_cdef_u64).unwrap();
        assert_eq!(
            read(ioas, at, len - 8),
            0x0123_4567_89ab_cdef_u64.to_le_bytes()
        );
        mapping.unmap().unwrap();
        domains.assert_lack(at, &*memory);
        assert_eq!(fixture.pinned(), 0);
    }
    stops_halfway(&fixture);
}

/// Asserts that memory of which only the first half is there is not mapped at all.
fn stops_halfway(fixture: &Fixture) {
    let Fixture {
        domains,
        ioas,
        kind,
        ..
    } = fixture;
    let half = kind.page();
    let map: Box<dyn Fn(usize) -> iommufd::Result<Mapping>>;
    let errno = if kind.file {
        let file = if kind.huge {
            file::memfd_huge(half)
        } else {
            file::memfd(half)
        };
        map = Box::new(move |len| {
            let range = FileRange::new(&file, 0..len as u64);
            ioas.map_file_at(page(0), range, Access::ReadWrite)
        });
        Errno::INVAL
    } else {
        let torn = if kind.huge {
            Torn::huge(HugePage::Size2M)
        } else {
            Torn::new(half)
        };
        let torn = Arc::new(torn);
        let first_half = DmaSlice::new(&torn, ..half).unwrap();
        let mapping = ioas.map_at(page(0), first_half, Access::Read).unwrap();
        domains.assert_map_bytes(page(0), torn.first_half());
        mapping.unmap().unwrap();
        map = Box::new(move |len| {
            let slice = DmaSlice::new(&torn, ..len).unwrap();
            ioas.map_at(page(0), slice, Access::ReadWrite)
        });
        Errno::FAULT
    };
    for too_long in [half + PAGE, 2 * half] {
        refused(map(too_long), errno);
        assert_eq!(fixture.pinned(), 0, "nothing of it");
    }
    let mapping = map(half).unwrap();
    assert_eq!(fixture.pinned(), half as u64);
    mapping.unmap().unwrap();
}

pub(super) fn ro_unshare(fixture: Fixture) {
    let Fixture {
        domains,
        ioas,
        kind,
        ..
    } = &fixture;
    // Memory that nobody has touched: until somebody writes to it, a process sees a page of zeroes that is everybody's.
    let untouched = kind.shared(1);
    let mapping = ioas.map_at(page(0), &untouched, Access::Read).unwrap();
    stays(&fixture, &untouched);
    mapping.unmap().unwrap();

    // Memory that is a child's as well, until one of the two writes to it.
    let mut buffer = kind.buffer(1);
    buffer.fill(0x5a);
    let inherited = buffer.share();
    beside(
        |link| {
            link.meet();
            link.meet();
            // What the parent has written since is not the child's.
            if !kind.file {
                assert_eq!(
                    inherited.read::<u64>(0).unwrap(),
                    u64::from_ne_bytes([0x5a; 8])
                );
            }
        },
        |link, _| {
            link.meet();
            let mapping = ioas.map_at(page(0), &inherited, Access::Read).unwrap();
            domains.assert_map(page(0), &*inherited);
            stays(&fixture, &inherited);
            mapping.unmap().unwrap();
            link.meet();
        },
    );
    domains.assert_lack(page(0), &*inherited);
    assert_eq!(fixture.pinned(), 0);
}

/// Asserts that `memory`, which is mapped at page 0 for reading, stays where it is when the process writes to it.
fn stays(fixture: &Fixture, memory: &Arc<SharedBuffer>) {
    let Fixture { domains, ioas, .. } = fixture;
    for offset in (0..memory.len()).step_by(memory.len().min(PAGE * 256)) {
        let of_page = part(&**memory, offset..offset + PAGE);
        let at = page(0).checked_add(offset as u64).unwrap();
        domains.assert_map_bytes(at, of_page);
        memory.write(offset, offset as u64 + 1).unwrap();
        domains.assert_map_bytes(at, of_page);
        assert_eq!(
            read(ioas, page(0), offset),
            (offset as u64 + 1).to_ne_bytes()
        );
    }
    domains.assert_map(page(0), &**memory);
    assert_eq!(fixture.pinned(), memory.bytes().len() as u64);
}

/// What an access finds in the 8 bytes `offset` bytes behind `start`.
fn read(ioas: &Ioas, start: Iova, offset: usize) -> [u8; 8] {
    let mut seen = [0; 8];
    let at = start.checked_add(offset as u64).unwrap();
    MockAccess::new(ioas)
        .unwrap()
        .read_slowly(at, &mut seen)
        .unwrap();
    seen
}
