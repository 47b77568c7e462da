//! The address space that stands in for a VFIO container: set, found, and forgotten with it.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use iommufd::{
    Access, Attachment, DmaBuffer, DmaMemory, Error, Ioas, Iommufd, Iova, Leaks, Mapped, Mapping,
};
use iommufd_sys::vfio::{VFIO_DMA_MAP_FLAG_READ, VFIO_TYPE1_IOMMU};
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::faults::{Points, sweep};
use tests::fork::in_child;
use tests::memory::Living;
use tests::mock::{APERTURE, MockAccess, MockDevice, check_pins};
use tests::observe::Recorder;
use tests::raw::compat::{map_dma, set_iommu, unmap_dma};
use tests::within::within;
use tests::{ids, raw, refused};

/// A device in the address space of a container of the first type, the only one for which the kernel cuts a mapping.
fn cutting(iommufd: &Iommufd) -> (MockDevice, Ioas, Attachment) {
    let device = MockDevice::new(iommufd).unwrap();
    let ioas = Ioas::new(iommufd).unwrap();
    iommufd.set_compat_ioas(&ioas).unwrap();
    set_iommu(iommufd, VFIO_TYPE1_IOMMU).unwrap();
    let attachment = device.attach(&ioas).unwrap();
    (device, ioas, attachment)
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn there_is_none_until_it_is_set_and_none_when_it_is_cleared() {
    let (iommufd, recorder) = Recorder::context();
    let (one, other) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    recorder.clear();
    assert!(!iommufd.has_compat_ioas().unwrap());
    assert!(!one.is_compat().unwrap());
    iommufd.set_compat_ioas(&one).unwrap();
    assert!(iommufd.has_compat_ioas().unwrap());
    assert!(one.is_compat().unwrap());
    assert!(!other.is_compat().unwrap());
    assert!(one.clone().is_compat().unwrap());
    iommufd.set_compat_ioas(&other).unwrap();
    assert!(!one.is_compat().unwrap());
    assert!(other.is_compat().unwrap());
    iommufd.clear_compat_ioas().unwrap();
    assert!(!iommufd.has_compat_ioas().unwrap());
    assert!(!other.is_compat().unwrap());
    // To clear what is clear is no mistake.
    iommufd.clear_compat_ioas().unwrap();
    assert!(
        recorder
            .calls()
            .iter()
            .all(|name| *name == "IOMMU_VFIO_IOAS")
    );
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_kernel_does_not_hold_it_and_forgets_it_when_it_is_destroyed() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let id = ids::of(&ioas);
    iommufd.set_compat_ioas(&ioas).unwrap();
    ioas.try_destroy().unwrap();
    assert!(!iommufd.has_compat_ioas().unwrap());
    // The next has the id of the first, and nothing else of it.
    let next = Ioas::new(&iommufd).unwrap();
    assert_eq!(ids::of(&next), id);
    assert!(!next.is_compat().unwrap());
    iommufd.set_compat_ioas(&next).unwrap();
    drop(next);
    assert!(!iommufd.has_compat_ioas().unwrap());
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_address_space_of_another_context_is_refused_before_the_ioctl() {
    let (ours, our_calls) = Recorder::context();
    let theirs = Iommufd::open().unwrap();
    let our_ioas = Ioas::new(&ours).unwrap();
    let their_ioas = Ioas::new(&theirs).unwrap();
    assert_eq!(ids::of(&our_ioas), ids::of(&their_ioas));
    our_calls.clear();
    let error = ours.set_compat_ioas(&their_ioas).unwrap_err();
    assert!(matches!(error, Error::ForeignContext { .. }), "{error}");
    assert_eq!(our_calls.count(), 0);
    // Each context has one of its own.
    ours.set_compat_ioas(&our_ioas).unwrap();
    assert!(!theirs.has_compat_ioas().unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn one_that_a_stranger_destroyed_is_not_found() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    iommufd.set_compat_ioas(&ioas).unwrap();
    raw::destroy(&iommufd, ids::of(&ioas)).unwrap();
    assert!(!ioas.is_compat().unwrap());
    refused(iommufd.set_compat_ioas(&ioas), Errno::NOENT);
    assert!(!iommufd.has_compat_ioas().unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_ioctls_of_a_container_work_on_it_and_no_memory_is_lost_or_kept() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas
        .map_at(page(0), living.memory(PAGE), Access::Read)
        .unwrap();
    let unmap = || unmap_dma(&iommufd, 24, 0, page(0).get(), PAGE as u64);
    assert_eq!(unmap(), Err(Errno::NODEV));
    iommufd.set_compat_ioas(&ioas).unwrap();
    assert_eq!(unmap(), Ok(PAGE as u64));
    // The SDK does not know; it finds out.
    assert_eq!(living.count(), 1);
    mapping.unmap().unwrap();
    assert_eq!(living.count(), 0);
    assert_eq!(ioas.mapped(), Mapped::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_container_of_the_first_type_has_no_huge_pages() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    assert_eq!(set_iommu(&iommufd, VFIO_TYPE1_IOMMU), Err(Errno::NODEV));
    iommufd.set_compat_ioas(&ioas).unwrap();
    assert!(ioas.huge_pages().unwrap());
    set_iommu(&iommufd, VFIO_TYPE1_IOMMU).unwrap();
    assert!(
        !ioas.huge_pages().unwrap(),
        "asked of the kernel, not remembered"
    );
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_mapping_that_a_container_has_cut_is_unmapped_all_the_same() {
    let iommufd = Iommufd::open().unwrap();
    let (_device, ioas, _attachment) = cutting(&iommufd);
    let living = Living::new();
    let memory = living.memory(4 * PAGE);
    let mapping = ioas.map_at(page(0), &memory, Access::Read).unwrap();
    let hole = unmap_dma(&iommufd, 24, 0, page(1).get(), 2 * PAGE as u64);
    assert_eq!(hole, Ok(2 * PAGE as u64));
    refused(ioas.copy(&mapping, Access::Read), Errno::NOENT);
    let first = mapping.slice(..PAGE as u64).unwrap();
    let copy = ioas.copy_at(page(9), first, Access::Read).unwrap();
    mapping.unmap().unwrap();
    let first = NonNull::slice_from_raw_parts(memory.bytes().cast(), PAGE);
    check_pins(&iommufd, first, 1).unwrap();
    copy.unmap().unwrap();
    check_pins(&iommufd, memory.bytes(), 0).unwrap();
    drop(memory);
    assert_eq!(living.count(), 0);
    let left = raw::unmap(&iommufd, ids::of(&ioas), 0, u64::MAX);
    assert_eq!(left, Ok(0), "nothing is left in the kernel");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_mapping_across_an_edge_of_which_somebody_else_has_mapped_is_unmapped_or_held() {
    let iommufd = Iommufd::open().unwrap();
    let (_device, ioas, _attachment) = cutting(&iommufd);
    let (living, size) = (Living::new(), 2 * PAGE as u64);
    let mut strangers = Vec::new();
    // Of four pages a container unmaps the first or the last two, and maps two over that edge.
    let mut cut = |first: u64, hole: u64, over: u64| {
        let memory = living.memory(4 * PAGE);
        let mapping = ioas.map_at(page(first), &memory, Access::Read).unwrap();
        let cut = unmap_dma(&iommufd, 24, 0, page(hole).get(), size);
        assert_eq!(cut, Ok(size));
        let theirs = DmaBuffer::new(2 * PAGE).unwrap().share();
        map_dma(
            &iommufd,
            32,
            VFIO_DMA_MAP_FLAG_READ,
            &theirs,
            page(over).get(),
        )
        .unwrap();
        strangers.push(theirs);
        (memory, mapping.unmap())
    };
    // What is left of the mapping is unmapped before the kernel comes to the edge, and it does not say so.
    let (memory, done) = cut(4, 6, 7);
    let (mapping, error) = done.unwrap_err().into_parts();
    assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
    check_pins(&iommufd, memory.bytes(), 0).unwrap();
    unmap_dma(&iommufd, 24, 0, page(7).get(), size).unwrap();
    mapping.unmap().unwrap();
    drop(memory);
    assert_eq!(living.count(), 0);
    // The kernel looks no further than the edge: it answers as if nothing were mapped, and much is.
    let (memory, done) = cut(14, 14, 13);
    let (mapping, error) = done.unwrap_err().into_parts();
    assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
    let last = memory.bytes().cast::<u8>();
    let last = last.map_addr(|first| first.checked_add(2 * PAGE).unwrap());
    check_pins(&iommufd, NonNull::slice_from_raw_parts(last, 2 * PAGE), 1).unwrap();
    drop((mapping, memory));
    assert_eq!(living.count(), 1, "devices reach it");
    ioas.unmap_all().unwrap();
    assert_eq!(living.count(), 0);
    for theirs in &strangers {
        check_pins(&iommufd, theirs.bytes(), 0).unwrap();
    }
}

/// Tells another thread, when it is dropped.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What hides the rest of a mapping comes and goes between any two questions.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_mapping_across_an_edge_that_comes_and_goes_lets_nothing_go() {
    let iommufd = Iommufd::open().unwrap();
    let (_device, ioas, _attachment) = cutting(&iommufd);
    let theirs = DmaBuffer::new(2 * PAGE).unwrap().share();
    let (living, size) = (Living::new(), 2 * PAGE as u64);
    for _ in 0..400 {
        let memory = living.memory(4 * PAGE);
        let mapping = ioas.map_at(page(8), &memory, Access::Read).unwrap();
        assert_eq!(
            unmap_dma(&iommufd, 24, 0, page(8).get(), size / 2),
            Ok(size / 2)
        );
        let over = AtomicBool::new(false);
        let is_moving = Barrier::new(2);
        let left = thread::scope(|scope| {
            scope.spawn(|| {
                is_moving.wait();
                while !over.load(Ordering::Relaxed) {
                    let at = page(7).get();
                    let _mapped = map_dma(&iommufd, 32, VFIO_DMA_MAP_FLAG_READ, &theirs, at);
                    let _unmapped = unmap_dma(&iommufd, 24, 0, at, size);
                }
            });
            // Also if this fails: the other is waited for.
            let _over = Over(&over);
            is_moving.wait();
            let mut left = Some(mapping);
            for _ in 0..10 {
                let Some(Err(refused)) = left.take().map(Mapping::unmap) else {
                    let pins = check_pins(&iommufd, memory.bytes(), 0);
                    assert_eq!(pins, Ok(()), "it was let go of");
                    break;
                };
                // Busy: what is in the way is being mapped, or unmapped.
                let errno = refused.error().errno().unwrap();
                assert!([Errno::NOENT, Errno::BUSY].contains(&errno), "{errno}");
                assert_eq!(Arc::strong_count(&memory), 2, "it is held");
                left = Some(refused.into_value());
            }
            left
        });
        if let Some(mapping) = left {
            mapping.unmap().unwrap();
        }
        check_pins(&iommufd, memory.bytes(), 0).unwrap();
        drop(memory);
        assert_eq!(living.count(), 0);
    }
}

/// A device that comes later reserves the place, which it could not if anything were there.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_container_has_unmapped_is_gone_though_its_place_is_reserved_now() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    iommufd.set_compat_ioas(&ioas).unwrap();
    let living = Living::new();
    let size = PAGE as u64;
    // Below what the device can reach, and across the edge.
    let before = [APERTURE.0 - 4 * size, APERTURE.0 - size].map(Iova::new);
    let mappings = before.map(|at| {
        let memory = living.memory(2 * PAGE);
        ioas.map_at(at, memory, Access::Read).unwrap()
    });
    for at in before {
        assert_eq!(unmap_dma(&iommufd, 24, 0, at.get(), 2 * size), Ok(2 * size));
    }
    let device = MockDevice::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    for mapping in mappings {
        mapping.unmap().unwrap();
    }
    assert_eq!(living.count(), 0);
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_mapping_whose_place_another_has_taken_is_not_copied() {
    let iommufd = Iommufd::open().unwrap();
    let (ioas, window) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    iommufd.set_compat_ioas(&ioas).unwrap();
    let [one, two] = [(), ()].map(|()| DmaBuffer::new(PAGE).unwrap().share());
    let stale = ioas.map_at(page(0), &one, Access::ReadWrite).unwrap();
    unmap_dma(&iommufd, 24, 0, page(0).get(), PAGE as u64).unwrap();
    let successor = ioas.map_at(page(0), &two, Access::ReadWrite).unwrap();
    // The kernel would copy what is there now; to hold the memory of the other would be no help.
    for (to, at) in [(&window, 0), (&ioas, 5)] {
        for source in [&stale, &successor] {
            let refused = to.copy_at(page(at), source, Access::ReadWrite);
            assert!(matches!(refused, Err(Error::Unmapped { .. })));
        }
    }
    successor.unmap().unwrap();
    let mut two = DmaBuffer::reclaim(two).unwrap();
    two[0] = 1;
    let access = MockAccess::new(&window).unwrap();
    assert!(access.write(page(0), &[0xee; 16]).is_err());
    assert_eq!(two[0], 1);
    // What nobody has taken the place of any more is asked for again.
    refused(window.copy(&stale, Access::Read), Errno::NOENT);
    drop(access);
    stale.unmap().unwrap();
    DmaBuffer::reclaim(one).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn unmapping_what_a_container_has_unmapped_takes_nothing_of_what_came_after() {
    let (iommufd, recorder) = Recorder::context();
    let (device, ioas, _attachment) = cutting(&iommufd);
    let living = Living::new();
    let map = |first, count| {
        let memory = living.memory(count * PAGE);
        let mapping = ioas.map_at(page(first), &memory, Access::Read).unwrap();
        (mapping, memory)
    };
    let unmap = |first, count: u64| {
        let bytes = count * PAGE as u64;
        assert_eq!(
            unmap_dma(&iommufd, 24, 0, page(first).get(), bytes),
            Ok(bytes)
        );
    };
    // All of the first is gone, and of the second a part.
    let (whole, of_whole) = map(0, 2);
    unmap(0, 2);
    let (cut, of_cut) = map(4, 4);
    unmap(5, 2);
    let successors = [map(0, 2), map(5, 1), map(6, 1)];
    recorder.clear();
    whole.unmap().unwrap();
    assert_eq!(recorder.count(), 0, "another has its place: it is gone");
    cut.unmap().unwrap();
    assert_eq!(
        recorder.answers(),
        [("IOMMU_IOAS_UNMAP", Ok(())); 2],
        "before and behind what came after"
    );
    for memory in [of_whole, of_cut] {
        check_pins(&iommufd, memory.bytes(), 0).unwrap();
    }
    assert_eq!(living.count(), 3);
    assert_eq!(ioas.mapped(), tests::at::mapped(3, 4 * PAGE as u64));
    for (mapping, memory) in successors {
        device.check_map(mapping.iova(), memory.bytes()).unwrap();
        mapping.unmap().unwrap();
        check_pins(&iommufd, memory.bytes(), 0).unwrap();
    }
    assert_eq!(living.count(), 0);
    assert_eq!(raw::unmap(&iommufd, ids::of(&ioas), 0, u64::MAX), Ok(0));
}

/// The stale one comes last in the books: what is unmapped must be what the kernel has.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn unmapping_what_came_after_unmaps_it_though_a_stale_mapping_has_its_place_in_the_books() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    iommufd.set_compat_ioas(&ioas).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let living = Living::new();
    let memory = living.memory(PAGE);
    let map = || ioas.map_at(page(0), &memory, Access::Read).unwrap();
    let stale = map();
    unmap_dma(&iommufd, 24, 0, page(0).get(), PAGE as u64).unwrap();
    let successor = map();
    check_pins(&iommufd, memory.bytes(), 1).unwrap();
    successor.unmap().unwrap();
    check_pins(&iommufd, memory.bytes(), 0).unwrap();
    stale.unmap().unwrap();
    drop(memory);
    assert_eq!(living.count(), 0);
    assert_eq!(iommufd.leaks(), Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn unmapping_all_unmaps_what_a_container_has_mapped_too() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    iommufd.set_compat_ioas(&ioas).unwrap();
    let living = Living::new();
    let flags = VFIO_DMA_MAP_FLAG_READ;
    let map = || map_dma(&iommufd, 32, flags, &living.memory(PAGE), page(0).get());
    map().unwrap();
    // The ledger is empty. A range is left to whose it is, all is all.
    let error = ioas.unmap_range(tests::at::pages(0, 9)).unwrap_err();
    assert!(matches!(error, Error::NothingMapped { .. }), "{error}");
    assert_eq!(map(), Err(Errno::EXIST));
    assert_eq!(ioas.unmap_all().unwrap(), PAGE as u64);
    assert_eq!(ioas.unmap_all().unwrap(), 0);
    map().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_it_is_neither_set_nor_found() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    iommufd.set_compat_ioas(&ioas).unwrap();
    recorder.clear();
    in_child(|| {
        let forked = |error| matches!(error, Error::Forked);
        assert!(forked(iommufd.set_compat_ioas(&ioas).unwrap_err()));
        assert!(forked(iommufd.clear_compat_ioas().unwrap_err()));
        assert!(forked(iommufd.has_compat_ioas().unwrap_err()));
        assert!(forked(ioas.is_compat().unwrap_err()));
        assert_eq!(recorder.count(), 0);
    });
    assert!(ioas.is_compat().unwrap());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn whatever_fails_it_is_set_or_it_is_not() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let mut errors = 0;
    sweep(Points::Everywhere, |nth| {
        iommufd.clear_compat_ioas().unwrap();
        let result = nth.armed(|| iommufd.set_compat_ioas(&ioas));
        assert!(result.is_ok() || nth.failed());
        errors += usize::from(result.is_err());
        assert_eq!(ioas.is_compat().unwrap(), result.is_ok());
    });
    assert!(errors > 0);
}

/// To be asked which it is, the kernel holds it, and does not destroy what is held.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn it_can_be_dropped_while_others_ask_for_it() {
    within(60, || {
        let iommufd = Iommufd::open().unwrap();
        let other = Ioas::new(&iommufd).unwrap();
        let ends = Instant::now() + Duration::from_secs(3);
        let rounds = thread::scope(|scope| {
            scope.spawn(|| {
                while Instant::now() < ends {
                    iommufd.has_compat_ioas().unwrap();
                    other.is_compat().unwrap();
                }
            });
            let mut rounds = 0;
            while Instant::now() < ends {
                let ioas = Ioas::new(&iommufd).unwrap();
                iommufd.set_compat_ioas(&ioas).unwrap();
                drop(ioas);
                rounds += 1;
            }
            rounds
        });
        assert!(rounds > 10, "{rounds}");
        assert_eq!(iommufd.leaks(), Leaks::default());
        assert_eq!(raw::objects(&iommufd), 1);
    });
}
