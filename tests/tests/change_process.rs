//! Moving what is mapped to another process: what can move, what is in the way, and what the kernel then counts.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use iommufd::{Access, DmaBuffer, Error, FileRange, Ioas, Iommufd, IovaRange, Leaks};
use rustix::io::Errno;
use tests::accounted::{locked, pinned};
use tests::at::{PAGE, page, pages};
use tests::faults::{Points, sweep};
use tests::fork::{in_child, with_locked_memory};
use tests::memory::Living;
use tests::mock::{MockDevice, MockDmabuf};
use tests::observe::Recorder;
use tests::within::within;
use tests::{file, raw, refused};

/// The mapping that is in the way.
#[track_caller]
fn in_the_way(iommufd: &Iommufd) -> IovaRange {
    let error = iommufd.change_process().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL), "{error}");
    match error {
        Error::CannotMove { mapping, .. } => mapping,
        other => panic!("{other}"),
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn all_that_is_in_memfds_can_move() {
    let (iommufd, recorder) = Recorder::context();
    let device = MockDevice::new(&iommufd).unwrap();
    let (one, two) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let _attachment = device.attach(&one).unwrap();
    iommufd.change_process().unwrap();
    let shared = DmaBuffer::memfd(2 * PAGE).unwrap().share();
    let of_ours = one.map(&shared, Access::ReadWrite).unwrap();
    let foreign = file::memfd(PAGE);
    let range = FileRange::new(&foreign, 0..PAGE as u64);
    let _to_read = one.map_file(range, Access::Read).unwrap();
    let _to_write = two.map_file(range, Access::Write).unwrap();
    let _copy = two
        .copy(of_ours.slice(..PAGE as u64).unwrap(), Access::Read)
        .unwrap();
    recorder.clear();
    iommufd.change_process().unwrap();
    assert_eq!(recorder.calls(), ["IOMMU_IOAS_CHANGE_PROCESS"]);
    device
        .check_map(of_ours.iova(), iommufd::DmaMemory::bytes(&*shared))
        .unwrap();
    of_ours.unmap().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_cannot_move_is_named_wherever_it_is_mapped() {
    let iommufd = Iommufd::open().unwrap();
    let (one, two) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let in_file = DmaBuffer::memfd(PAGE).unwrap().share();
    let _can = one.map_at(page(0), &in_file, Access::Read).unwrap();
    let _too = two.map_at(page(0), &in_file, Access::Read).unwrap();
    let living = Living::new();
    let cannot = |at| {
        two.map_at(page(at), living.memory(2 * PAGE), Access::Read)
            .unwrap()
    };
    let (later, sooner) = (cannot(9), cannot(5));
    assert_eq!(in_the_way(&iommufd), pages(5, 2), "the first by address");
    let error = iommufd.change_process().unwrap_err().to_string();
    assert!(error.contains(&pages(5, 2).to_string()), "{error}");
    sooner.unmap().unwrap();
    assert_eq!(in_the_way(&iommufd), pages(9, 2));
    two.unmap_range(pages(9, 2)).unwrap();
    iommufd.change_process().unwrap();
    drop(later);

    // An address space that is gone is in nobody's way.
    let _again = cannot(3);
    assert_eq!(in_the_way(&iommufd), pages(3, 2));
    drop((_again, _too, two));
    iommufd.change_process().unwrap();
    assert_eq!(living.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_copy_can_move_if_its_source_can() {
    let iommufd = Iommufd::open().unwrap();
    let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
    let by_address = from
        .map_at(page(0), Living::new().memory(PAGE), Access::Read)
        .unwrap();
    let copy = to.copy_at(page(7), &by_address, Access::Read).unwrap();
    by_address.unmap().unwrap();
    assert_eq!(in_the_way(&iommufd), pages(7, 1));
    copy.unmap().unwrap();
    iommufd.change_process().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dma_buf_cannot_move() {
    let iommufd = Iommufd::open().unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let dmabuf = MockDmabuf::new(&iommufd, PAGE as u32).unwrap();
    let range = FileRange::new(&dmabuf, 0..PAGE as u64);
    for access in [Access::Read, Access::ReadWrite] {
        let mapping = ioas.map_file_at(page(4), range, access).unwrap();
        assert_eq!(in_the_way(&iommufd), mapping.range());
        mapping.unmap().unwrap();
        iommufd.change_process().unwrap();
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_another_handle_has_mapped_is_in_the_way_and_cannot_be_named() {
    let iommufd = Iommufd::open().unwrap();
    let other = Iommufd::from_fd(raw::witness(&iommufd)).unwrap();
    let ioas = Ioas::new(&other).unwrap();
    let mapping = ioas
        .map_at(page(2), Living::new().memory(PAGE), Access::Read)
        .unwrap();
    let error = iommufd.change_process().unwrap_err();
    assert!(matches!(error, Error::Kernel(_)), "{error}");
    refused(Err::<(), _>(error), Errno::INVAL);
    assert_eq!(in_the_way(&other), mapping.range());
}

/// What is pinned.
const ALL: u64 = 4 * PAGE as u64;

/// Maps four pages of a memfd for a device, in a context of which `fd` is a file, as long as `work` runs.
fn with_pinned(fd: OwnedFd, work: impl FnOnce(&Iommufd)) {
    let iommufd = Iommufd::from_fd(fd).unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let shared = DmaBuffer::memfd(4 * PAGE).unwrap().share();
    let mapping = ioas.map(&shared, Access::ReadWrite).unwrap();
    work(&iommufd);
    mapping.unmap().unwrap();
    DmaBuffer::reclaim(shared).unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_process_that_takes_over_has_all_pinned_pages() {
    for per_process in [false, true] {
        let builder = match per_process {
            true => Iommufd::builder().account_per_process(),
            false => Iommufd::builder(),
        };
        let mut fd = Some(raw::witness(&builder.open().unwrap()));
        // What root pins does not count at all. Counted for the user, it counts twice for a moment.
        with_locked_memory(8, |_, _| {
            with_pinned(fd.take().unwrap(), |iommufd| {
                let locks = if per_process { ALL } else { 0 };
                assert_eq!((pinned(), locked()), (ALL, locks));
                let mut handed_over = Some(raw::witness(iommufd));
                in_child(|| {
                    let error = iommufd.change_process().unwrap_err();
                    assert!(matches!(error, Error::Forked), "{error}");
                    assert_eq!(pinned(), 0);
                    let own = Iommufd::from_fd(handed_over.take().unwrap()).unwrap();
                    own.change_process().unwrap();
                    assert_eq!((pinned(), locked()), (ALL, locks));
                });
                assert_eq!((pinned(), locked()), (0, 0));
                if !per_process {
                    iommufd.change_process().unwrap();
                    assert_eq!(pinned(), ALL);
                }
            });
            assert_eq!((pinned(), locked()), (0, 0));
        });
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_process_that_may_not_lock_so_much_takes_nothing_over() {
    let mut fd = Some(raw::witness(&Iommufd::open().unwrap()));
    with_locked_memory(7, |_, _| {
        with_pinned(fd.take().unwrap(), |iommufd| {
            let mut handed_over = Some(raw::witness(iommufd));
            in_child(|| {
                let own = Iommufd::from_fd(handed_over.take().unwrap()).unwrap();
                let error = own.change_process().unwrap_err();
                let text = error.to_string();
                assert!(text.contains("what is mapped"), "{text}");
                match error {
                    Error::LockedMemory {
                        operation, needed, ..
                    } => {
                        assert_eq!(operation, "IOMMU_IOAS_CHANGE_PROCESS");
                        assert_eq!(needed, 0);
                    }
                    other => panic!("{other}"),
                }
                assert_eq!(pinned(), 0);
            });
            assert_eq!(pinned(), ALL);
        });
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn while_something_is_being_mapped_the_kernel_is_busy() {
    within(120, || {
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let _attachment = device.attach(&ioas).unwrap();
        let shared = DmaBuffer::memfd(4 << 20).unwrap().share();
        let over = AtomicBool::new(false);
        let busy = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mapping = ioas.map(&shared, Access::ReadWrite).unwrap();
                    mapping.unmap().unwrap();
                }
            });
            let begin = Instant::now();
            let busy = loop {
                match iommufd.change_process() {
                    Ok(()) if begin.elapsed() < Duration::from_secs(60) => {}
                    answer => break answer,
                }
            };
            over.store(true, Ordering::Relaxed);
            busy
        });
        refused(busy, Errno::BUSY);
        assert_eq!(iommufd.leaks(), Leaks::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_kernel_that_is_out_of_memory_for_a_moment_makes_up_for_it() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let shared = DmaBuffer::memfd(4 * PAGE).unwrap().share();
    let mapping = ioas.map(&shared, Access::ReadWrite).unwrap();
    // Iommufd itself has no point there, and the list of address spaces is allocated at a second attempt.
    let points = sweep(Points::Everywhere, |nth| {
        nth.armed(|| iommufd.change_process()).unwrap();
        assert_eq!(pinned(), ALL);
    });
    assert!(points > 0);
    mapping.unmap().unwrap();
    assert_eq!(pinned(), 0);
    DmaBuffer::reclaim(shared).unwrap();
}

/// The kernel holds all address spaces meanwhile, and does not destroy one that is held.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_address_space_can_be_dropped_meanwhile() {
    within(60, || {
        let iommufd = Iommufd::open().unwrap();
        let others: Vec<_> = (0..20).map(|_| Ioas::new(&iommufd).unwrap()).collect();
        let ends = Instant::now() + Duration::from_secs(3);
        let rounds = thread::scope(|scope| {
            scope.spawn(|| {
                let mut changes = 0;
                while Instant::now() < ends {
                    match iommufd.change_process() {
                        Ok(()) => changes += 1,
                        Err(error) => {
                            assert_eq!(error.errno(), Some(Errno::BUSY), "a map: {error}")
                        }
                    }
                }
                assert!(changes > 10, "{changes}");
            });
            let mut rounds = 0;
            while Instant::now() < ends {
                let ioas = Ioas::new(&iommufd).unwrap();
                let memory = DmaBuffer::memfd(PAGE).unwrap().share();
                drop(ioas.map(&memory, Access::ReadWrite).unwrap());
                if rounds % 2 == 0 {
                    drop(ioas);
                } else {
                    ioas.try_destroy().unwrap();
                }
                rounds += 1;
            }
            rounds
        });
        assert!(rounds > 10, "{rounds}");
        drop(others);
        assert_eq!(iommufd.leaks(), Leaks::default());
        assert_eq!(raw::objects(&iommufd), 0);
    });
}
