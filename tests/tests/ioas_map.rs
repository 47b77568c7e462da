//! Mapping memory: where it lands, what a device may do with it, and every refusal.

use iommufd::{
    Access, DmaBuffer, DmaMemory, DmaSlice, Error, Ioas, Iommufd, Iova, IovaRange, Mapped,
};
use rustix::io::Errno;
use tests::at::{PAGE, mapped};
use tests::memory::{Living, Nowhere};
use tests::mock::{APERTURE, MockAccess, MockDevice};
use tests::{ids, raw, refused};

const START: Iova = Iova::new(APERTURE.0);

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_is_found_where_the_kernel_put_it() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    let memory = Living::new().memory(4 * PAGE);
    let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
    assert!(ioas.iova_ranges().unwrap().contains(mapping.range()));
    assert_eq!(mapping.ioas(), ioas);
    assert_eq!(mapping.len(), 4 * PAGE as u64);
    device.check_map(mapping.iova(), memory.bytes()).unwrap();
    assert_eq!(ioas.mapped(), mapped(1, 4 * PAGE as u64));

    let iova = mapping.iova();
    mapping.unmap().unwrap();
    assert_eq!(
        device.check_map(iova, memory.bytes()),
        Err(Errno::INVAL),
        "the device no longer finds it"
    );
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_is_found_at_a_fixed_address_and_a_part_of_it_too() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let memory = Living::new().memory(4 * PAGE);
    let whole = ioas.map_at(START, &memory, Access::ReadWrite).unwrap();
    assert_eq!(whole.iova(), START);
    device.check_map(START, memory.bytes()).unwrap();

    let two = DmaSlice::new(&memory, PAGE..3 * PAGE).unwrap();
    let elsewhere = START.checked_add(0x10_0000).unwrap();
    let part = ioas.map_at(elsewhere, two, Access::Read).unwrap();
    assert_eq!(
        part.range(),
        IovaRange::with_len(elsewhere, 0x2000).unwrap()
    );
    // The device sees the second page of the memory at the start of the part.
    let access = MockAccess::new(&ioas).unwrap();
    access
        .write(START.checked_add(0x1000).unwrap(), b"hello")
        .unwrap();
    let mut seen = [0; 5];
    access.read(elsewhere, &mut seen).unwrap();
    assert_eq!(&seen, b"hello");
    assert_eq!(ioas.mapped(), mapped(2, 6 * PAGE as u64));
}

/// Peers map everything for reading and writing, whatever the device needs.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p16_a_device_may_do_what_the_mapping_says_and_no_more() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    let mut byte = [0];
    for (what, may_read, may_write) in [
        (Access::Read, true, false),
        (Access::Write, false, true),
        (Access::ReadWrite, true, true),
    ] {
        let memory = Living::new().memory(PAGE);
        let mapping = ioas.map(&memory, what).unwrap();
        let read = access.read(mapping.iova(), &mut byte);
        let write = access.write(mapping.iova(), &byte);
        assert_eq!(read.is_ok(), may_read, "{what:?}: {read:?}");
        assert_eq!(write.is_ok(), may_write, "{what:?}: {write:?}");
    }
}

/// Peers report success for a mapping that runs into another.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p21_a_fixed_mapping_that_touches_another_is_refused() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let _there = ioas
        .map_at(START, living.memory(2 * PAGE), Access::Read)
        .unwrap();
    for offset in [-4096_i64, 0, 4096] {
        let iova = Iova::new(START.get().strict_add_signed(offset));
        let again = ioas.map_at(iova, living.memory(2 * PAGE), Access::Read);
        refused(again, Errno::EXIST);
    }
    assert_eq!(living.count(), 1, "what was not mapped is let go of");
    assert_eq!(ioas.mapped(), mapped(1, 2 * PAGE as u64));
}

/// A peer swaps length and address at a call.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p25_length_and_address_reach_the_kernel_as_they_were_meant() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let iova = Iova::new(0x10_0000);
    let memory = Living::new().memory(PAGE);
    let mapping = ioas.map_at(iova, &memory, Access::ReadWrite).unwrap();
    let access = MockAccess::new(&ioas).unwrap();
    access.read(iova, &mut [0; PAGE]).unwrap();
    assert_eq!(access.read(iova, &mut [0; PAGE + 1]), Err(Errno::NOENT));
    drop(access);
    mapping.unmap().unwrap();
    let left = raw::unmap(&iommufd, ids::of(&ioas), 0, u64::MAX);
    assert_eq!(left, Ok(0), "nothing is left in the kernel");
}

/// A peer puts the last address of a range where the first behind it belongs.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p28_the_last_address_of_a_range_can_be_mapped_and_the_next_cannot() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let ranges = ioas.iova_ranges().unwrap();
    let range = ranges.iter().next().unwrap();
    let last_page = Iova::new(range.last().get() - 0xfff);
    let memory = Living::new().memory(PAGE);
    let mapping = ioas.map_at(last_page, &memory, Access::Read).unwrap();
    assert_eq!(mapping.range().last(), range.last());
    device.check_map(last_page, memory.bytes()).unwrap();
    let beyond = range.last().checked_add(1).unwrap();
    refused(ioas.map_at(beyond, &memory, Access::Read), Errno::INVAL);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_last_page_of_the_address_space_can_be_mapped() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = Living::new().memory(PAGE);
    let last_page = Iova::new(u64::MAX - 0xfff);
    let mapping = ioas.map_at(last_page, &memory, Access::Read).unwrap();
    assert_eq!(mapping.range().last(), Iova::new(u64::MAX));
    assert_eq!(mapping.len(), PAGE as u64);
    assert_eq!(ioas.unmap_all().unwrap(), PAGE as u64);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_mapping_past_the_end_of_the_address_space_overflows() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = Living::new().memory(2 * PAGE);
    for iova in [u64::MAX - 0xfff, u64::MAX] {
        let result = ioas.map_at(Iova::new(iova), &memory, Access::Read);
        refused(result, Errno::OVERFLOW);
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_is_not_aligned_for_the_attached_iommu_is_refused() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let memory = Living::new().memory(2 * PAGE);
    // With nothing attached any address will do.
    let odd = DmaSlice::new(&memory, 1..PAGE).unwrap();
    drop(
        ioas.map_at(Iova::new(START.get() + 1), odd, Access::Read)
            .unwrap(),
    );

    let _attachment = device.attach(&ioas).unwrap();
    let alignment = ioas.iova_ranges().unwrap().alignment();
    assert_eq!(alignment, tests::mock::PAGE);
    let page = DmaSlice::new(&memory, ..PAGE).unwrap();
    let odd_iova = START.checked_add(alignment / 2).unwrap();
    refused(ioas.map_at(odd_iova, page, Access::Read), Errno::INVAL);
    let odd_len = DmaSlice::new(&memory, ..PAGE + 1).unwrap();
    refused(ioas.map_at(START, odd_len, Access::Read), Errno::INVAL);
    let odd_start = DmaSlice::new(&memory, 1..=PAGE).unwrap();
    refused(
        ioas.map_at(START, odd_start.clone(), Access::Read),
        Errno::INVAL,
    );
    refused(ioas.map(odd_start, Access::Read), Errno::INVAL);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_reserved_address_is_refused() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    tests::mock::add_reserved(&iommufd, ids::of(&ioas), START.get(), 0x2000).unwrap();
    let memory = Living::new().memory(2 * PAGE);
    for iova in [
        START.get() - 0x1000,
        START.get(),
        START.get() + 0x1000,
        START.get() + 0x1fff,
    ] {
        refused(
            ioas.map_at(Iova::new(iova), &memory, Access::Read),
            Errno::INVAL,
        );
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn with_no_address_free_there_is_no_space() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let page = IovaRange::with_len(START, PAGE as u64).unwrap();
    ioas.allow_iovas(&[page]).unwrap();
    let living = Living::new();
    refused(
        ioas.map(living.memory(2 * PAGE), Access::Read),
        Errno::NOSPC,
    );
    let first = ioas.map(living.memory(PAGE), Access::Read).unwrap();
    assert_eq!(first.range(), page, "the one that is allowed");
    refused(ioas.map(living.memory(PAGE), Access::Read), Errno::NOSPC);
    first.unmap().unwrap();
    let again = ioas.map(living.memory(PAGE), Access::Read).unwrap();
    assert_eq!(again.range(), page);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_is_not_there_is_found_out_when_it_has_to_be_pinned() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let nowhere = std::sync::Arc::new(Nowhere);
    let lazily = ioas.map_at(START, &nowhere, Access::Read).unwrap();
    refused(device.attach(&ioas), Errno::FAULT);
    refused(iommufd::HwPt::new(&ioas, &device), Errno::FAULT);
    lazily.unmap().unwrap();

    let _attachment = device.attach(&ioas).unwrap();
    refused(ioas.map(&nowhere, Access::Read), Errno::FAULT);
    assert_eq!(ioas.mapped(), Mapped::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_empty_mapping_is_refused_before_the_ioctl() {
    let (iommufd, recorder) = tests::observe::Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let shared = DmaBuffer::new(PAGE).unwrap().share();
    recorder.clear();
    let nothing = DmaSlice::new(&shared, 8..8).unwrap();
    let error = ioas.map(nothing, Access::Read).unwrap_err();
    assert!(matches!(error, Error::Empty { .. }));
    assert_eq!(recorder.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_address_space_that_a_stranger_destroyed_is_no_longer_found() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    raw::destroy(&iommufd, ids::of(&ioas)).unwrap();
    let memory = Living::new().memory(PAGE);
    refused(ioas.map(&memory, Access::Read), Errno::NOENT);
    refused(ioas.iova_ranges(), Errno::NOENT);
    refused(ioas.allow_iovas(&[]), Errno::NOENT);
    let refusal = ioas.try_destroy().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::NOENT));
}
