//! Unmapping: one, a range, all, and what the kernel keeps.

use iommufd::{Access, Error, Ioas, Iommufd, Iova, IovaRange, Mapped};
use rustix::io::Errno;
use tests::at::{PAGE, mapped, page, pages};
use tests::memory::Living;
use tests::mock::{MockAccess, MockDevice, MockQueue};
use tests::observe::Recorder;
use tests::{ids, raw, refused};

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dropped_mapping_is_unmapped_by_one_ioctl() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas.map(living.memory(PAGE), Access::ReadWrite).unwrap();
    recorder.clear();
    assert_eq!(living.count(), 1);
    drop(mapping);
    assert_eq!(recorder.answers(), [("IOMMU_IOAS_UNMAP", Ok(()))]);
    assert_eq!(living.count(), 0);
    assert_eq!(ioas.mapped(), Mapped::default());
    assert_eq!(iommufd.leaks(), iommufd::Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn unmap_all_empties_the_guards_and_their_drop_asks_the_kernel_for_nothing() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let living = Living::new();
    let mut guards: Vec<_> = (0..5)
        .map(|n| {
            ioas.map_at(page(2 * n), living.memory(PAGE), Access::ReadWrite)
                .unwrap()
        })
        .collect();
    recorder.clear();
    assert_eq!(ioas.unmap_all().unwrap(), 5 * PAGE as u64);
    assert_eq!(recorder.calls(), ["IOMMU_IOAS_UNMAP"]);
    assert_eq!(
        living.count(),
        0,
        "the memory is free while the guards live"
    );
    assert_eq!(ioas.mapped(), Mapped::default());

    // The addresses are free at once, and an emptied guard does not touch who comes next.
    let next = ioas
        .map_at(page(0), living.memory(PAGE), Access::ReadWrite)
        .unwrap();
    recorder.clear();
    guards.pop().unwrap().unmap().unwrap();
    drop(guards);
    assert_eq!(recorder.count(), 0);
    assert_eq!(living.count(), 1);
    assert_eq!(ioas.mapped(), mapped(1, PAGE as u64));
    next.unmap().unwrap();
    assert_eq!(ioas.unmap_all().unwrap(), 0, "all of nothing is no error");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_range_unmaps_what_lies_in_it_and_nothing_else() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let guards: Vec<_> = [0, 2, 4, 6]
        .map(|n| {
            ioas.map_at(page(n), living.memory(PAGE), Access::Read)
                .unwrap()
        })
        .into();
    assert_eq!(ioas.unmap_range(pages(1, 5)).unwrap(), 2 * PAGE as u64);
    assert_eq!(living.count(), 2);
    assert_eq!(ioas.mapped(), mapped(2, 2 * PAGE as u64));
    let nothing = ioas.unmap_range(pages(1, 5)).unwrap_err();
    assert!(matches!(nothing, Error::NothingMapped { range, .. } if range == pages(1, 5)));
    drop(guards);
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_range_that_would_cut_a_mapping_unmaps_nothing_at_all() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let _low = ioas
        .map_at(page(0), living.memory(PAGE), Access::Read)
        .unwrap();
    let high = ioas
        .map_at(page(4), living.memory(4 * PAGE), Access::Read)
        .unwrap();
    recorder.clear();
    for range in [
        pages(0, 5),
        pages(5, 1),
        pages(7, 1000),
        IovaRange::new(Iova::new(0), Iova::new(high.range().last().get() - 1)).unwrap(),
        IovaRange::new(Iova::new(high.iova().get() + 1), Iova::new(u64::MAX)).unwrap(),
    ] {
        match ioas.unmap_range(range).unwrap_err() {
            Error::PartlyCovered {
                range: asked,
                mapping,
                ..
            } => {
                assert_eq!(asked, range);
                assert_eq!(mapping, high.range());
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(
        recorder.count(),
        0,
        "the kernel would have unmapped the lower one first"
    );
    assert_eq!(living.count(), 2);
    assert_eq!(ioas.unmap_range(IovaRange::ALL).unwrap(), 5 * PAGE as u64);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_unmap_that_the_kernel_refuses_gives_the_mapping_back_and_keeps_the_memory() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas
        .map_at(page(0), living.memory(PAGE), Access::ReadWrite)
        .unwrap();
    let queue = MockQueue::new(&device, &ioas, &mapping).unwrap();

    let refusal = mapping.unmap().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    assert!(refusal.to_string().contains("hardware queue"), "{refusal}");
    let mapping = refusal.into_value();
    assert_eq!(living.count(), 1);
    assert_eq!(ioas.mapped(), mapped(1, PAGE as u64));

    drop(queue);
    mapping.unmap().unwrap();
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p15_a_refused_unmap_in_a_drop_is_counted_and_told_and_the_memory_stays() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas
        .map_at(page(0), living.memory(PAGE), Access::ReadWrite)
        .unwrap();
    let queue = MockQueue::new(&device, &ioas, &mapping).unwrap();
    recorder.clear();
    drop(mapping);
    assert_eq!(iommufd.leaks().mappings, 1);
    assert_eq!(recorder.refusals(), [("mapping", Some(Errno::BUSY))]);
    assert_eq!(living.count(), 1, "the device of the queue reaches it");

    // With the guard gone too, the address space can still be emptied.
    refused(ioas.unmap_all(), Errno::BUSY);
    assert_eq!(living.count(), 1);
    drop(queue);
    assert_eq!(ioas.unmap_all().unwrap(), PAGE as u64);
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn unmap_all_takes_what_it_can_and_says_what_stayed() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let guards: Vec<_> = (0..4)
        .map(|n| {
            ioas.map_at(page(n), living.memory(PAGE), Access::ReadWrite)
                .unwrap()
        })
        .collect();
    // The kernel goes by address, and gives up at this one.
    let queue = MockQueue::new(&device, &ioas, &guards[1]).unwrap();
    match ioas.unmap_all().unwrap_err() {
        Error::PartlyUnmapped {
            unmapped,
            remaining,
            first,
            reason,
            ..
        } => {
            assert_eq!(unmapped, 3 * PAGE as u64);
            assert_eq!(remaining, 1);
            assert_eq!(first, page(1));
            assert_eq!(reason.errno, Errno::BUSY);
        }
        other => panic!("{other}"),
    }
    assert_eq!(living.count(), 1);
    assert_eq!(ioas.mapped(), mapped(1, PAGE as u64));
    drop(queue);
    drop(guards);
    assert_eq!(living.count(), 0);
    assert_eq!(iommufd.leaks(), iommufd::Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_unmap_takes_back_the_pages_that_an_emulated_device_has_pinned() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas.map(living.memory(PAGE), Access::ReadWrite).unwrap();
    let access = MockAccess::pinning(&ioas).unwrap();
    let pin = access.pin(mapping.iova(), PAGE as u64).unwrap();
    mapping.unmap().unwrap();
    assert_eq!(living.count(), 0);
    assert_eq!(access.unpin(pin), Err(Errno::NOENT));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_stranger_has_unmapped_counts_as_unmapped() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let id = ids::of(&ioas);
    let living = Living::new();
    let one = ioas
        .map_at(page(0), living.memory(PAGE), Access::Read)
        .unwrap();
    let _two = ioas
        .map_at(page(1), living.memory(PAGE), Access::Read)
        .unwrap();
    let all = raw::unmap(&iommufd, id, 0, u64::MAX);
    assert_eq!(all, Ok(2 * PAGE as u64));
    assert_eq!(living.count(), 2, "the SDK has not been told");
    one.unmap().unwrap();
    assert_eq!(living.count(), 1);
    // Of the kernel's bytes, none: the range unmap finds an address space that is empty.
    ioas.unmap_range(pages(0, 10)).unwrap();
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_mapping_whose_address_a_stranger_gave_away_does_not_unmap_its_successor() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let old = ioas
        .map_at(page(0), living.memory(PAGE), Access::Read)
        .unwrap();
    raw::unmap(&iommufd, ids::of(&ioas), 0, u64::MAX).unwrap();
    // The kernel refuses to find the old one for another reason than that its address is free: the new one is longer.
    let new = ioas
        .map_at(page(0), living.filled(2 * PAGE, 9), Access::Read)
        .unwrap();
    old.unmap().unwrap();
    assert_eq!(living.count(), 1);
    let mut seen = [0; 2 * PAGE];
    let access = MockAccess::new(&ioas).unwrap();
    access.read(new.iova(), &mut seen).unwrap();
    assert_eq!(seen, [9; 2 * PAGE]);
    drop(access);
    new.unmap().unwrap();
    assert_eq!(living.count(), 0);
}
