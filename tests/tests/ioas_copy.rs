//! Mapping once more what is mapped: the copy shares the memory, and is unmapped by itself.

use std::ops::Bound;

use iommufd::{
    Access, DmaBuffer, DmaMemory, DmaSlice, Error, FileRange, Ioas, Iommufd, Iova, Leaks, Mapped,
};
use rustix::fs::{SealFlags, fcntl_add_seals};
use rustix::io::Errno;
use tests::at::{PAGE, mapped, page, pages};
use tests::faults::nothing_is_left;
use tests::fork::{in_child, with_locked_memory};
use tests::memory::{Living, forget};
use tests::mock::{MockAccess, MockDevice, MockDmabuf, MockQueue, check_pins};
use tests::observe::Recorder;
use tests::within::within;
use tests::{file, ids, raw, refused};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_copy_leads_to_the_memory_of_its_source_and_pins_nothing_more() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let other = MockDevice::new(&iommufd).unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let _of_from = device.attach(&from).unwrap();
    let _of_to = other.attach(&to).unwrap();
    let memory = Living::new().memory(4 * PAGE);
    let source = from.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    recorder.clear();
    let fixed = to.copy_at(page(8), &source, Access::ReadWrite).unwrap();
    let chosen = to.copy(&source, Access::ReadWrite).unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_IOAS_COPY"; 2]);
    assert_eq!(fixed.range(), pages(8, 4));
    assert_eq!(chosen.len(), source.len());
    assert!(to.iova_ranges().unwrap().contains(chosen.range()));
    for copy in [&fixed, &chosen] {
        other.check_map(copy.iova(), memory.bytes()).unwrap();
    }
    assert_eq!(to.mapped(), mapped(2, 8 * PAGE as u64));
    assert_eq!(from.mapped(), mapped(1, 4 * PAGE as u64));
    check_pins(&iommufd, memory.bytes(), 1).unwrap();

    chosen.unmap().unwrap();
    fixed.unmap().unwrap();
    assert_eq!(to.mapped(), Mapped::default());
    device.check_map(page(0), memory.bytes()).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_copy_keeps_the_memory_when_its_source_is_unmapped() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let living = Living::new();
    let memory = living.filled(PAGE, 0x5a);
    let source = from.map(&memory, Access::Read).unwrap();
    let copy = to.copy_at(page(0), &source, Access::Read).unwrap();
    drop(memory);
    source.unmap().unwrap();
    from.try_destroy().unwrap();
    assert_eq!(living.count(), 1);
    // Nothing was pinned so far: the kernel has but an address, at which the memory must be.
    let _attachment = device.attach(&to).unwrap();
    let mut seen = [0; PAGE];
    let access = MockAccess::new(&to).unwrap();
    access.read(page(0), &mut seen).unwrap();
    assert_eq!(seen, [0x5a; PAGE]);
    drop(access);
    copy.unmap().unwrap();
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_buffer_is_reclaimed_when_the_last_copy_is_unmapped() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let shared = DmaBuffer::memfd(2 * PAGE).unwrap().share();
    let source = ioas.map(&shared, Access::ReadWrite).unwrap();
    let copy = ioas.copy(&source, Access::Read).unwrap();
    source.unmap().unwrap();
    let of_copy = ioas.copy(&copy, Access::ReadWrite).unwrap();
    copy.unmap().unwrap();
    let shared = DmaBuffer::reclaim(shared).unwrap_err().into_value();
    of_copy.unmap().unwrap();
    DmaBuffer::reclaim(shared).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_part_of_a_mapping_is_copied_from_where_it_begins() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let memory = Living::new().memory(4 * PAGE);
    let access = MockAccess::new(&ioas).unwrap();
    let source = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    for n in 0..4 {
        access.write(page(n), &[n as u8 + 1]).unwrap();
    }
    let two = source.slice(PAGE as u64..3 * PAGE as u64).unwrap();
    let copy = ioas.copy_at(page(10), two, Access::Read).unwrap();
    assert_eq!(copy.range(), pages(10, 2));
    let last = two.slice(PAGE as u64..).unwrap();
    assert_eq!(last.mapping().iova(), source.iova());
    let one = ioas.copy_at(page(20), last, Access::Read).unwrap();
    assert_eq!(one.range(), pages(20, 1));
    let of_copy = ioas
        .copy_at(page(30), copy.slice(..PAGE as u64).unwrap(), Access::Read)
        .unwrap();
    let first_byte = |at: Iova| {
        let mut byte = [0];
        access.read(at, &mut byte).unwrap();
        byte[0]
    };
    assert_eq!(first_byte(page(10)), 2);
    assert_eq!(first_byte(page(11)), 3);
    assert_eq!(first_byte(page(20)), 3);
    assert_eq!(first_byte(page(30)), 2);
    source.unmap().unwrap();
    copy.unmap().unwrap();
    assert_eq!(first_byte(one.iova()), 3);
    assert_eq!(first_byte(of_copy.iova()), 2);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_mapping_has_not_is_no_part_of_it() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let source = ioas
        .map(Living::new().memory(2 * PAGE), Access::Read)
        .unwrap();
    recorder.clear();
    let page = PAGE as u64;
    let out = |range: (Bound<u64>, Bound<u64>)| {
        let error = source.slice(range).unwrap_err();
        matches!(error, Error::OutOfBounds { .. })
    };
    assert!(out((Bound::Included(0), Bound::Excluded(2 * page + 1))));
    assert!(out((Bound::Included(page), Bound::Excluded(0))));
    assert!(out((Bound::Excluded(u64::MAX), Bound::Unbounded)));
    assert!(out((Bound::Unbounded, Bound::Included(u64::MAX))));
    let half = source.slice(page..).unwrap();
    assert_eq!((half.len(), half.is_empty()), (page, false));
    assert!(half.slice(..=page).is_err(), "the other half is not in it");
    let nothing = half.slice(page..).unwrap();
    assert!(nothing.is_empty());
    let error = ioas.copy(nothing, Access::Read).unwrap_err();
    assert!(matches!(error, Error::Empty { .. }), "{error}");
    assert_eq!(recorder.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_mapping_that_was_emptied_is_not_copied() {
    let (iommufd, recorder) = Recorder::context();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let living = Living::new();
    let source = from
        .map_at(page(0), living.memory(PAGE), Access::Read)
        .unwrap();
    from.unmap_range(pages(0, 1)).unwrap();
    // Its place is another's now.
    let successor = from
        .map_at(page(0), living.memory(PAGE), Access::Read)
        .unwrap();
    recorder.clear();
    for ioas in [&from, &to] {
        let error = ioas.copy(&source, Access::Read).unwrap_err();
        assert!(
            matches!(error, Error::Unmapped { range, .. } if range == pages(0, 1)),
            "{error}"
        );
    }
    assert_eq!(recorder.count(), 0, "the kernel was not asked");
    to.copy(&successor, Access::Read).unwrap().unmap().unwrap();
    source.unmap().unwrap();
    assert_eq!(living.count(), 1);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_mapping_of_another_context_is_refused_before_the_ioctl() {
    let (ours, our_calls) = Recorder::context();
    let (theirs, their_calls) = Recorder::context();
    let our_ioas = Ioas::new(&ours).unwrap();
    let their_ioas = Ioas::new(&theirs).unwrap();
    assert_eq!(ids::of(&our_ioas), ids::of(&their_ioas));
    let memory = Living::new().memory(PAGE);
    let mapping = their_ioas.map(&memory, Access::Read).unwrap();
    our_calls.clear();
    their_calls.clear();
    let error = our_ioas.copy(&mapping, Access::Read).unwrap_err();
    assert!(matches!(
        error,
        Error::ForeignContext {
            what: "mapping",
            ..
        }
    ));
    assert_eq!((our_calls.count(), their_calls.count()), (0, 0));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_devices_may_only_read_is_not_copied_to_be_written() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let living = Living::new();
    let read_only = ioas.map(living.memory(PAGE), Access::Read).unwrap();
    for what in [Access::Write, Access::ReadWrite] {
        refused(ioas.copy(&read_only, what), Errno::PERM);
    }
    assert_eq!(ioas.mapped().mappings, 1);
    // From what they may write, anything goes: what counts is the memory, not the last mapping.
    let writable = ioas.map(living.memory(PAGE), Access::Write).unwrap();
    let to_read = ioas.copy(&writable, Access::Read).unwrap();
    let both = ioas.copy(&to_read, Access::ReadWrite).unwrap();
    access.write(both.iova(), b"x").unwrap();
    let mut seen = [0];
    access.read(to_read.iova(), &mut seen).unwrap();
    assert_eq!(&seen, b"x");
    assert_eq!(access.write(to_read.iova(), b"y"), Err(Errno::PERM));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_copy_is_refused_where_a_map_is() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let living = Living::new();
    let source = from.map(living.memory(2 * PAGE), Access::Read).unwrap();
    let taken = to.copy_at(page(0), &source, Access::Read).unwrap();
    refused(to.copy_at(page(1), &source, Access::Read), Errno::EXIST);
    refused(
        from.copy_at(source.iova(), &source, Access::Read),
        Errno::EXIST,
    );
    let end = Iova::new(u64::MAX - 0xfff);
    refused(to.copy_at(end, &source, Access::Read), Errno::OVERFLOW);
    taken.unmap().unwrap();

    to.allow_iovas(&[pages(4, 1)]).unwrap();
    refused(to.copy(&source, Access::Read), Errno::NOSPC);
    to.allow_iovas(&[]).unwrap();
    let (start, len) = (page(100).get(), PAGE as u64);
    tests::mock::add_reserved(&iommufd, ids::of(&to), start, len).unwrap();
    refused(to.copy_at(page(100), &source, Access::Read), Errno::INVAL);

    let _attachment = device.attach(&to).unwrap();
    let odd = source.slice(1..PAGE as u64).unwrap();
    refused(to.copy_at(page(0), odd, Access::Read), Errno::INVAL);
    let half = Iova::new(page(0).get() + tests::mock::PAGE / 2);
    refused(to.copy_at(half, &source, Access::Read), Errno::INVAL);
    assert_eq!(to.mapped(), Mapped::default());
    drop(source);
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_stranger_has_taken_away_is_not_found() {
    let iommufd = Iommufd::open().unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let living = Living::new();
    let source = from
        .map_at(page(0), living.memory(PAGE), Access::Read)
        .unwrap();
    raw::unmap(&iommufd, ids::of(&from), page(0).get(), PAGE as u64).unwrap();
    refused(to.copy(&source, Access::Read), Errno::NOENT);
    let there = from.map(living.memory(PAGE), Access::Read).unwrap();
    raw::destroy(&iommufd, ids::of(&to)).unwrap();
    refused(to.copy(&there, Access::Read), Errno::NOENT);
    drop(source);
    drop(there);
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_cannot_be_pinned_for_the_copy_is_found_out_then() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let nowhere = std::sync::Arc::new(tests::memory::Nowhere);
    let source = from.map(&nowhere, Access::Read).unwrap();
    let lazily = to.copy_at(page(0), &source, Access::Read).unwrap();
    refused(device.attach(&to), Errno::FAULT);
    lazily.unmap().unwrap();
    let _attachment = device.attach(&to).unwrap();
    refused(to.copy_at(page(0), &source, Access::Read), Errno::FAULT);
    assert_eq!(to.mapped(), Mapped::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_copy_counts_once_and_names_the_limit_if_that_is_too_much() {
    with_locked_memory(2, |iommufd, device| {
        let (from, to) = (Ioas::new(iommufd).unwrap(), Ioas::new(iommufd).unwrap());
        let _attachment = device.attach(&to).unwrap();
        let three = DmaBuffer::new(3 * PAGE).unwrap().share();
        let lazily = from.map(&three, Access::Read).unwrap();
        match to.copy(&lazily, Access::Read).unwrap_err() {
            Error::LockedMemory {
                operation, needed, ..
            } => {
                assert_eq!(operation, "IOMMU_IOAS_COPY");
                assert_eq!(needed, 3 * PAGE as u64);
            }
            other => panic!("{other}"),
        }
        let two = lazily.slice(..2 * PAGE as u64).unwrap();
        let copies: Vec<_> = (0..3)
            .map(|_| to.copy(two, Access::Read).unwrap())
            .collect();
        drop(copies);
        lazily.unmap().unwrap();
        DmaBuffer::reclaim(three).unwrap();
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_file_that_devices_write_is_not_sealed_as_long_as_there_is_a_copy() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let file = file::memfd(PAGE);
    let range = FileRange::new(&file, 0..PAGE as u64);
    let sealed = || fcntl_add_seals(&file, SealFlags::WRITE);
    let source = ioas.map_file(range, Access::ReadWrite).unwrap();
    // A copy to read only, of which one to write can be made.
    let copy = ioas.copy(&source, Access::Read).unwrap();
    source.unmap().unwrap();
    assert_eq!(sealed(), Err(Errno::BUSY));
    let to_write = ioas.copy(&copy, Access::Write).unwrap();
    copy.unmap().unwrap();
    assert_eq!(sealed(), Err(Errno::BUSY));
    to_write.unmap().unwrap();
    sealed().unwrap();

    let source = ioas.map_file(range, Access::Read).unwrap();
    refused(ioas.copy(&source, Access::Write), Errno::PERM);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dma_buf_is_copied_and_what_is_copied_when_it_is_revoked_leads_nowhere() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let _attachment = device.attach(&to).unwrap();
    let dmabuf = MockDmabuf::new(&iommufd, 2 * PAGE as u32).unwrap();
    let range = FileRange::new(&dmabuf, 0..2 * PAGE as u64);
    let source = from.map_file(range, Access::ReadWrite).unwrap();
    let copy = to.copy_at(page(0), &source, Access::ReadWrite).unwrap();
    source.unmap().unwrap();
    dmabuf.revoke(true).unwrap();
    // To map its file is refused now. To copy it is not, and takes a place all the same.
    refused(to.map_file(range, Access::Read), Errno::NODEV);
    let empty = to.copy_at(page(8), &copy, Access::ReadWrite).unwrap();
    refused(to.copy_at(page(8), &copy, Access::Read), Errno::EXIST);
    let access = MockAccess::new(&to).unwrap();
    for mapping in [&copy, &empty] {
        assert!(access.read(mapping.iova(), &mut [0]).is_err());
    }
    drop(access);
    copy.unmap().unwrap();
    empty.unmap().unwrap();
    assert_eq!(to.mapped(), Mapped::default());
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_hardware_queue_uses_is_copied_and_the_copy_is_free_of_it() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let source = ioas
        .map_at(page(0), living.memory(PAGE), Access::ReadWrite)
        .unwrap();
    let queue = MockQueue::new(&device, &ioas, &source).unwrap();
    let copy = ioas.copy_at(page(1), &source, Access::ReadWrite).unwrap();
    copy.unmap().unwrap();
    let source = source.unmap().unwrap_err().into_value();
    drop(queue);
    source.unmap().unwrap();
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_forgotten_copy_keeps_the_memory_until_its_address_space_goes() {
    let iommufd = Iommufd::open().unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let living = Living::new();
    let memory = living.memory(2 * PAGE);
    let half = DmaSlice::new(&memory, ..PAGE).unwrap();
    let source = from.map(half, Access::Read).unwrap();
    drop(memory);
    forget(to.copy(&source, Access::Read).unwrap());
    source.unmap().unwrap();
    assert_eq!(living.count(), 1);
    assert_eq!(to.unmap_all().unwrap(), PAGE as u64);
    assert_eq!(living.count(), 0);
    assert_eq!(to.mapped(), Mapped::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_observer_can_empty_both_address_spaces_when_it_is_told_of_a_copy() {
    within(20, || {
        let (iommufd, recorder) = Recorder::context();
        let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
        let living = Living::new();
        let source = from
            .map_at(page(0), living.memory(PAGE), Access::Read)
            .unwrap();
        recorder.hook({
            let (from, to) = (from.clone(), to.clone());
            move |event| {
                if event.ioctl.name == "IOMMU_IOAS_COPY" && event.result.is_ok() {
                    from.unmap_all().unwrap();
                    to.unmap_all().unwrap();
                }
            }
        });
        let copy = to.copy_at(page(0), &source, Access::Read).unwrap();
        assert_eq!(living.count(), 0, "both guards came emptied");
        drop((source, copy));

        // Of a refusal it is told at the same point.
        let source = from
            .map_at(page(0), living.memory(PAGE), Access::Read)
            .unwrap();
        recorder.hook({
            let from = from.clone();
            move |event| {
                if event.ioctl.name == "IOMMU_IOAS_COPY" {
                    from.unmap_all().unwrap();
                }
            }
        });
        refused(to.copy(&source, Access::Write), Errno::PERM);
        assert_eq!(living.count(), 0);
        recorder.unhook();
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_nothing_is_copied() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let source = ioas.map(Living::new().memory(PAGE), Access::Read).unwrap();
    recorder.clear();
    in_child(|| {
        let error = ioas.copy(&source, Access::Read).unwrap_err();
        assert!(matches!(error, Error::Forked));
        assert_eq!(recorder.count(), 0);
    });
    drop(ioas.copy(&source, Access::Read).unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_copy_that_fails_is_no_mapping() {
    nothing_is_left(|nth, iommufd, device, living| {
        let (from, to) = (Ioas::new(iommufd)?, Ioas::new(iommufd)?);
        let _attachment = device.attach(&to)?;
        let memory = living.memory(8 * PAGE);
        let source = from.map_at(page(0), &memory, Access::ReadWrite)?;
        let result = nth.armed(|| to.copy_at(page(0), &source, Access::ReadWrite));
        let pins = u32::from(result.is_ok());
        assert_eq!(check_pins(iommufd, memory.bytes(), pins), Ok(()));
        assert_eq!(to.mapped().mappings, pins as usize);
        if result.is_err() {
            // Its place is free, in the kernel and in the books, and the source is as it was.
            to.copy_at(page(0), &source, Access::ReadWrite)?.unmap()?;
        }
        source.unmap()?;
        result.map(drop)
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_copy_that_fails_leaves_its_source_pinned() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = Ioas::new(iommufd)?;
        let _attachment = device.attach(&ioas)?;
        let memory = living.memory(8 * PAGE);
        let source = ioas.map_at(page(0), &memory, Access::ReadWrite)?;
        let result = nth.armed(|| ioas.copy_at(page(8), &source, Access::Read));
        assert_eq!(check_pins(iommufd, memory.bytes(), 1), Ok(()));
        assert_eq!(ioas.mapped().mappings, 1 + usize::from(result.is_ok()));
        // Whichever goes first.
        drop(source);
        result.map(drop)
    });
}
