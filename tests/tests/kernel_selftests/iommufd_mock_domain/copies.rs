//! Memory that is mapped more than once.

use iommufd::{Access, DmaBuffer, DmaMemory, DmaSlice, Ioas};
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::mock::MockAccess;
use tests::{ids, mock, raw};

use super::Fixture;
use crate::domains::Domains;
use crate::part::part;

pub(super) fn all_aligns_copy(mut fixture: Fixture) {
    let kind = fixture.kind;
    let memory = kind.shared(kind.pages());
    let ioas = fixture.ioas.clone();
    let elsewhere = Ioas::new(&fixture.iommufd).unwrap();
    let mut of_elsewhere = Domains::new(&elsewhere, 0);
    let target = page(1 << 14);
    for range in kind.cuts() {
        let bytes = part(&*memory, range.clone());
        let at = page(0).checked_add(range.start as u64).unwrap();
        let slice = DmaSlice::new(&memory, range.clone()).unwrap();
        let source = ioas.map_at(at, slice, Access::ReadWrite).unwrap();
        let touched = (range.end.next_multiple_of(PAGE) - range.start / PAGE * PAGE) as u64;
        // Beside it, where the devices find both; and where there is no device yet.
        let within = ioas.copy_at(target, &source, Access::ReadWrite).unwrap();
        let between = elsewhere.copy_at(target, &source, Access::Read).unwrap();
        fixture.domains.assert_map_bytes(target, bytes);
        assert_eq!(fixture.pinned(), touched, "{range:?}: once");
        // Devices come, to either address space, and go: the pages are the same, and pinned once.
        fixture.domains.add();
        of_elsewhere.add();
        fixture.domains.assert_map_bytes(at, bytes);
        fixture.domains.assert_map_bytes(target, bytes);
        of_elsewhere.assert_map_bytes(target, bytes);
        assert_eq!(fixture.pinned(), touched, "{range:?}: once for all of them");
        source.unmap().unwrap();
        fixture.domains.assert_map_bytes(target, bytes);
        of_elsewhere.remove_last();
        assert_eq!(fixture.pinned(), touched, "{range:?}: without its source");
        of_elsewhere.add();
        within.unmap().unwrap();
        of_elsewhere.assert_map_bytes(target, bytes);
        assert_eq!(
            fixture.pinned(),
            touched,
            "{range:?}: where it was copied to"
        );
        of_elsewhere.remove_last();
        assert_eq!(fixture.pinned(), 0, "{range:?}");
        fixture.domains.remove_last();
        between.unmap().unwrap();
    }
    parts_of_parts(&fixture);
}

/// Asserts that a copy can begin and end wherever a mapping can, whatever place in its page the source has.
fn parts_of_parts(fixture: &Fixture) {
    let Fixture {
        domains,
        ioas,
        kind,
        ..
    } = fixture;
    let memory = kind.shared(kind.pages());
    let half = mock::PAGE as usize;
    let shifted = DmaSlice::new(&memory, half..).unwrap();
    let source = ioas.map_at(page(0), shifted, Access::ReadWrite).unwrap();
    let pinned = fixture.pinned();
    for range in kind.cuts() {
        if range.end > memory.len() - half {
            continue;
        }
        let of_source = source.slice(range.start as u64..range.end as u64).unwrap();
        let copy = ioas.copy(of_source, Access::Read).unwrap();
        let bytes = part(&*memory, range.start + half..range.end + half);
        domains.assert_map_bytes(copy.iova(), bytes);
        copy.unmap().unwrap();
    }
    assert_eq!(fixture.pinned(), pinned);
}

pub(super) fn user_copy(mut fixture: Fixture) {
    let (kind, fd) = (fixture.kind, fixture.iommufd.clone());
    let ioas = fixture.ioas.clone();
    let memory = kind.shared(1);
    let len = memory.len() as u64;
    memory.write(0, 0x1111_u64).unwrap();
    // An address space with no device but an access, as an emulated device has it.
    let emulated = Ioas::new(&fd).unwrap();
    let access = MockAccess::pinning(&emulated).unwrap();
    let source = emulated
        .map_at(page(0), &memory, Access::ReadWrite)
        .unwrap();
    assert_eq!(fixture.pinned(), 0);
    let pin = access
        .pin_exactly(page(0), part(&*memory, 0..PAGE))
        .unwrap();
    assert_eq!(fixture.pinned(), PAGE as u64);

    // Devices find the same pages, of which the access has pinned one.
    let copy = ioas.copy_at(page(8), &source, Access::ReadWrite).unwrap();
    fixture.domains.assert_map(page(8), &*memory);
    assert_eq!(fixture.pinned(), len);
    fixture.domains.remove_all();
    assert_eq!(fixture.pinned(), PAGE as u64);
    fixture.domains.add();
    fixture.domains.assert_map(page(8), &*memory);
    let part_of_source = source.slice(..PAGE as u64).unwrap();
    let small = ioas.copy_at(page(4), part_of_source, Access::Read).unwrap();
    fixture
        .domains
        .assert_map_bytes(page(4), part(&*memory, 0..PAGE));

    // The access moves: what it had pinned it no longer has, and it sees what is mapped there.
    let mut seen = [0; 8];
    access.read(page(0), &mut seen).unwrap();
    assert_eq!(seen, 0x1111_u64.to_ne_bytes());
    let next = Ioas::new(&fd).unwrap();
    assert_eq!(raw::destroy(&fd, ids::of(&emulated)), Err(Errno::BUSY));
    access.replace(&next).unwrap();
    assert_eq!(access.unpin(pin), Err(Errno::NOENT));
    assert_eq!(access.read(page(0), &mut seen), Err(Errno::NOENT));
    assert_eq!(fixture.pinned(), len, "the devices have pinned them");
    let moved = next.copy_at(page(0), &source, Access::ReadWrite).unwrap();
    access.write(page(0), &0x2222_u64.to_ne_bytes()).unwrap();
    assert_eq!(memory.read::<u64>(0).unwrap(), 0x2222);
    let pin = access.pin_exactly(page(0), memory.bytes()).unwrap();
    assert_eq!(fixture.pinned(), len);

    // The first address space can go, and so can the devices' copies: the access has the pages.
    source.unmap().unwrap();
    emulated.try_destroy().unwrap();
    small.unmap().unwrap();
    copy.unmap().unwrap();
    assert_eq!(fixture.pinned(), len);
    let copy = ioas.copy_at(page(8), &moved, Access::Read).unwrap();
    fixture.domains.assert_map(page(8), &*memory);
    access.unpin(pin).unwrap();
    assert_eq!(fixture.pinned(), len);
    // An address space in which something is mapped that cannot be pinned is refused, and the access stays.
    let half = DmaSlice::new(&memory, ..mock::PAGE as usize).unwrap();
    let odd = Ioas::new(&fd).unwrap();
    let in_the_way = odd.map_at(page(0), half, Access::Read).unwrap();
    assert_eq!(access.replace(&odd), Err(Errno::ADDRINUSE));
    access.read(page(0), &mut seen).unwrap();
    assert_eq!(seen, 0x2222_u64.to_ne_bytes());
    in_the_way.unmap().unwrap();
    access.replace(&odd).unwrap();
    assert_eq!(access.read(page(0), &mut seen), Err(Errno::NOENT));
    drop(access);
    copy.unmap().unwrap();
    moved.unmap().unwrap();
    assert_eq!(fixture.pinned(), 0);
    DmaBuffer::reclaim(memory).unwrap();
}
