//! The memory stays as long as the kernel maps it, whatever becomes of the handles.

use std::sync::Arc;

use iommufd::{Access, DmaBuffer, DmaSlice, Error, HwPt, Ioas, Iommufd, Leaks, Mapped};
use rustix::io::Errno;
use tests::at::{PAGE, mapped, page, pages};
use tests::memory::{Living, forget};
use tests::mock::{MockAccess, MockDevice, MockQueue};
use tests::observe::Recorder;
use tests::{ids, raw};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_memory_is_alive_when_its_owner_has_let_go_of_it() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let memory = living.filled(PAGE, 0x5a);
    // Lazily: nothing is pinned yet, and the kernel has but an address.
    let mapping = ioas.map_at(page(0), &memory, Access::Read).unwrap();
    drop(memory);
    assert_eq!(living.count(), 1);
    let _attachment = device.attach(&ioas).unwrap();
    let mut seen = [0; PAGE];
    let access = MockAccess::new(&ioas).unwrap();
    access.read(page(0), &mut seen).unwrap();
    assert_eq!(seen, [0x5a; PAGE]);
    drop(mapping);
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_forgotten_mapping_keeps_its_memory_until_all_is_unmapped() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let living = Living::new();
    forget(
        ioas.map_at(page(0), living.filled(PAGE, 3), Access::ReadWrite)
            .unwrap(),
    );
    assert_eq!(living.count(), 1);
    let mut seen = [0; PAGE];
    MockAccess::new(&ioas)
        .unwrap()
        .read(page(0), &mut seen)
        .unwrap();
    assert_eq!(seen, [3; PAGE]);
    assert_eq!(ioas.unmap_all().unwrap(), PAGE as u64);
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_forgotten_mapping_keeps_its_memory_until_its_range_is_unmapped() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    forget(
        ioas.map_at(page(1), living.memory(PAGE), Access::Read)
            .unwrap(),
    );
    ioas.unmap_range(pages(0, 3)).unwrap();
    assert_eq!(living.count(), 0);
    // Its address can be had again, and its place in the books is nobody's problem.
    let again = ioas
        .map_at(page(1), living.memory(PAGE), Access::Read)
        .unwrap();
    again.unmap().unwrap();
    assert_eq!(ioas.mapped(), Mapped::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_forgotten_attachment_keeps_everything_that_the_device_reaches() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let memory = living.memory(PAGE);
    let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    forget(device.attach(&ioas).unwrap());
    forget(mapping);
    let bytes = iommufd::DmaMemory::bytes(&*memory);
    drop((ioas, memory));
    assert_eq!(living.count(), 1);
    device.check_map(page(0), bytes).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_page_table_keeps_the_memory_when_the_address_spaces_handle_is_gone() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let memory = living.memory(PAGE);
    let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    let hwpt = HwPt::new(&ioas, &device).unwrap();
    let attachment = device.attach(&hwpt).unwrap();
    drop(hwpt);
    drop(ioas);
    assert_eq!(living.count(), 1);
    device
        .check_map(page(0), iommufd::DmaMemory::bytes(&*memory))
        .unwrap();
    drop(memory);
    drop(attachment);
    assert_eq!(living.count(), 1, "the guard");
    drop(mapping);
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn one_memory_mapped_twice_is_alive_until_both_are_unmapped() {
    let iommufd = Iommufd::open().unwrap();
    let (one, two) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let living = Living::new();
    let memory = living.memory(2 * PAGE);
    let first = one.map(&memory, Access::Read).unwrap();
    let half = DmaSlice::new(&memory, PAGE..).unwrap();
    let second = two.map(half, Access::ReadWrite).unwrap();
    drop(memory);
    drop(first);
    assert_eq!(living.count(), 1);
    drop(second);
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn after_a_failed_unmap_and_a_dropped_guard_the_memory_is_alive() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let memory = living.memory(PAGE);
    let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    let queue = MockQueue::new(&device, &ioas, &mapping).unwrap();
    let mapping = mapping.unmap().unwrap_err().into_value();
    drop(mapping);
    device
        .check_map(page(0), iommufd::DmaMemory::bytes(&*memory))
        .expect("the device reaches it");
    drop(memory);
    assert_eq!(living.count(), 1);
    drop(queue);
    drop(attachment);
    drop(ioas);
    assert_eq!(living.count(), 0, "the address space went, with all of it");
    assert_eq!(iommufd.leaks().mappings, 1);
    assert_eq!(iommufd.leaks().memories, 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_of_an_address_space_that_cannot_be_destroyed_stays_for_good() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas
        .map_at(page(0), living.memory(PAGE), Access::ReadWrite)
        .unwrap();
    let queue = MockQueue::new(&device, &ioas, &mapping).unwrap();
    drop(mapping);
    let id = ids::of(&ioas);
    let refusal = ioas.try_destroy().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    drop(refusal.into_value());
    let leaks = iommufd.leaks();
    assert_eq!((leaks.objects, leaks.mappings, leaks.memories), (1, 1, 1));
    assert_eq!(
        recorder.refusals(),
        [
            ("mapping", Some(Errno::BUSY)),
            ("address space", Some(Errno::BUSY)),
        ]
    );
    assert_eq!(living.count(), 1);
    drop(queue);
    raw::destroy(&iommufd, id).unwrap();
    assert_eq!(living.count(), 1, "kept for good: nobody told the SDK");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_address_space_is_not_destroyed_under_a_mapping() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas.map(living.memory(PAGE), Access::Read).unwrap();
    recorder.clear();
    let refusal = ioas.try_destroy().unwrap_err();
    assert!(matches!(
        refusal.error(),
        Error::InUse {
            object: "address space",
            holders: 1,
            ..
        }
    ));
    assert_eq!(recorder.count(), 0, "the kernel was not asked");
    mapping.unmap().unwrap();
    refusal.into_value().try_destroy().unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_IOAS_UNMAP", "IOMMU_DESTROY"]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_buffer_is_reclaimed_when_the_kernel_has_unmapped_it_and_not_before() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let mut buffer = DmaBuffer::new(PAGE).unwrap();
    buffer[..4].copy_from_slice(b"ping");
    let shared = buffer.share();
    let mapping = ioas.map(&shared, Access::ReadWrite).unwrap();
    let refusal = DmaBuffer::reclaim(shared).unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { holders: 1, .. }));
    let access = MockAccess::new(&ioas).unwrap();
    let mut seen = [0; 4];
    access.read(mapping.iova(), &mut seen).unwrap();
    assert_eq!(&seen, b"ping");
    access.write(mapping.iova(), b"pong").unwrap();

    mapping.unmap().unwrap();
    let buffer = DmaBuffer::reclaim(refusal.into_value()).unwrap();
    assert_eq!(&buffer[..4], b"pong");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn after_unmap_all_a_buffer_is_reclaimed_though_its_guard_lives() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let shared = DmaBuffer::new(PAGE).unwrap().share();
    let mapping = ioas.map(&shared, Access::ReadWrite).unwrap();
    ioas.unmap_all().unwrap();
    let mut buffer = DmaBuffer::reclaim(shared).unwrap();
    buffer.fill(1);
    drop(mapping);
    assert!(buffer.iter().all(|&byte| byte == 1));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_buffer_whose_unmap_was_refused_is_not_reclaimed() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let shared = DmaBuffer::new(PAGE).unwrap().share();
    let mapping = ioas.map_at(page(0), &shared, Access::ReadWrite).unwrap();
    let queue = MockQueue::new(&device, &ioas, &mapping).unwrap();
    drop(mapping);
    let shared = DmaBuffer::reclaim(shared).unwrap_err().into_value();
    assert_eq!(Arc::strong_count(&shared), 2);
    drop(queue);
    ioas.unmap_all().unwrap();
    DmaBuffer::reclaim(shared).unwrap();
    assert_eq!(
        iommufd.leaks().mappings,
        Leaks::default().mappings + 1,
        "the refusal stays counted"
    );
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_is_not_mapped_after_all_is_let_go_of() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let _taken = ioas
        .map_at(page(0), living.memory(PAGE), Access::Read)
        .unwrap();
    for _ in 0..100 {
        let refused = ioas.map_at(page(0), living.memory(PAGE), Access::Read);
        assert_eq!(refused.unwrap_err().errno(), Some(Errno::EXIST));
    }
    assert_eq!(living.count(), 1);
    assert_eq!(ioas.mapped(), mapped(1, PAGE as u64));
}
