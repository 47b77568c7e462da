//! Maps, unmaps and attaches that race for the same addresses. No memory goes early, none stays, nobody waits for ever.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use iommufd::{Access, DmaBuffer, DmaMemory, HwPt, Ioas, Iommufd, Leaks, Mapped};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::memory::Living;
use tests::mock::{MockAccess, MockDevice, check_pins};
use tests::within::within;

const ROUNDS: usize = 3000;

/// A peer looks a mapping up under a lock, and uses and frees it after.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p22_maps_and_unmaps_of_one_address_race_unmaps_of_all() {
    within(300, || {
        let iommufd = Iommufd::open().unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        let done = AtomicBool::new(false);
        let (mapped, emptied) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            let workers: Vec<_> = (1..=3)
                .map(|byte| {
                    let (ioas, living, mapped) = (&ioas, &living, &mapped);
                    scope.spawn(move || {
                        for round in 0..ROUNDS {
                            let memory = living.filled(PAGE, byte);
                            match ioas.map_at(page(0), memory, Access::ReadWrite) {
                                Ok(mapping) if round % 2 == 0 => drop(mapping),
                                Ok(mapping) => mapping.unmap().unwrap(),
                                Err(error) => {
                                    assert_eq!(error.errno(), Some(Errno::EXIST), "{error}");
                                    continue;
                                }
                            }
                            mapped.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let bytes = ioas.unmap_all().unwrap();
                    emptied.fetch_add(usize::from(bytes > 0), Ordering::Relaxed);
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Nothing there is the one error that there may be.
                    match ioas.unmap_range(pages(0, 4)) {
                        Ok(bytes) => assert_eq!(bytes, PAGE as u64),
                        Err(error) => assert_eq!(error.errno(), None, "{error}"),
                    }
                }
            });
            scope.spawn(|| {
                let access = MockAccess::new(&ioas).unwrap();
                let mut seen = vec![0; PAGE];
                while !done.load(Ordering::Relaxed) {
                    // Memory that went early would be EFAULT, or somebody else's.
                    match access.read(page(0), &mut seen) {
                        Ok(()) => {
                            assert!((1..=3).contains(&seen[0]), "{}", seen[0]);
                            assert!(seen.iter().all(|&byte| byte == seen[0]));
                        }
                        Err(errno) => assert_eq!(errno, Errno::NOENT),
                    }
                }
            });
            let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(results.iter().all(Result::is_ok));
        });
        assert!(mapped.into_inner() > 100);
        assert!(emptied.into_inner() > 10);
        assert_eq!(ioas.mapped(), Mapped::default());
        assert_eq!(living.count(), 0);
        assert_eq!(iommufd.leaks(), Leaks::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn many_threads_map_side_by_side_while_ranges_are_unmapped() {
    within(300, || {
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let _attachment = device.attach(&ioas).unwrap();
        let living = Living::new();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|worker| {
                    let (ioas, device, living) = (&ioas, &device, &living);
                    scope.spawn(move || {
                        for _ in 0..ROUNDS / 3 {
                            // Everybody has a place of their own; the second is in the way of the range.
                            let own = living.memory(PAGE);
                            let kept = ioas
                                .map_at(page(100 + 2 * worker), &own, Access::Read)
                                .unwrap();
                            let taken = ioas
                                .map_at(page(2 * worker), living.memory(PAGE), Access::Read)
                                .unwrap();
                            device.check_map(kept.iova(), own.bytes()).unwrap();
                            taken.unmap().unwrap();
                            device.check_map(kept.iova(), own.bytes()).unwrap();
                            kept.unmap().unwrap();
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if let Err(error) = ioas.unmap_range(pages(0, 50)) {
                        assert_eq!(error.errno(), None, "{error}");
                    }
                }
            });
            let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(results.iter().all(Result::is_ok));
        });
        assert_eq!(ioas.mapped(), Mapped::default());
        assert_eq!(living.count(), 0);
        assert_eq!(iommufd.leaks(), Leaks::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn one_guard_is_dropped_while_all_is_unmapped() {
    within(120, || {
        let iommufd = Iommufd::open().unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        for _ in 0..ROUNDS {
            let mapping = ioas.map(living.memory(PAGE), Access::Read).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| drop(mapping));
                scope.spawn(|| ioas.unmap_all().unwrap());
            });
            assert_eq!(living.count(), 0);
            assert_eq!(ioas.mapped(), Mapped::default());
        }
        assert_eq!(iommufd.leaks(), Leaks::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn devices_come_and_go_while_memory_is_mapped_and_unmapped() {
    within(300, || {
        let iommufd = Iommufd::open().unwrap();
        let devices = [
            MockDevice::new(&iommufd).unwrap(),
            MockDevice::new(&iommufd).unwrap(),
        ];
        let ioas = Ioas::new(&iommufd).unwrap();
        let other = Ioas::new(&iommufd).unwrap();
        let living = Living::new();
        let memory = living.memory(4 * PAGE);
        let _always = ioas.map_at(page(0), &memory, Access::Read).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let workers: Vec<_> = devices
                .iter()
                .map(|device| {
                    let (ioas, other, memory) = (&ioas, &other, &memory);
                    scope.spawn(move || {
                        for round in 0..ROUNDS / 6 {
                            let mut attachment = if round % 2 == 0 {
                                device.attach(ioas).unwrap()
                            } else {
                                device.attach(HwPt::new(ioas, device).unwrap()).unwrap()
                            };
                            device.check_map(page(0), memory.bytes()).unwrap();
                            attachment.replace(other).unwrap();
                            attachment.detach().unwrap();
                        }
                    })
                })
                .collect();
            for place in [10, 20] {
                let (ioas, living, done) = (&ioas, &living, &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let ranges = ioas.iova_ranges().unwrap();
                        assert!(ranges.contains(pages(place, 2)));
                        let memory = living.memory(2 * PAGE);
                        let mapping = ioas.map_at(page(place), &memory, Access::ReadWrite);
                        mapping.unwrap().unmap().unwrap();
                    }
                });
            }
            let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(results.iter().all(Result::is_ok));
        });
        check_pins(&iommufd, memory.bytes(), 0).unwrap();
        assert_eq!(living.count(), 1);
        assert_eq!(iommufd.leaks(), Leaks::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_buffer_can_be_reclaimed_by_whoever_unmaps_it_last() {
    within(120, || {
        let iommufd = Iommufd::open().unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let mut buffer = DmaBuffer::new(PAGE).unwrap();
        for round in 0..ROUNDS {
            let shared = buffer.share();
            let one = ioas.map(&shared, Access::Read).unwrap();
            let two = ioas.map(&shared, Access::Write).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| drop(one));
                scope.spawn(|| two.unmap().unwrap());
            });
            buffer = DmaBuffer::reclaim(shared).unwrap();
            buffer.fill(round.to_le_bytes()[0]);
        }
        assert_eq!(ioas.mapped(), Mapped::default());
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn two_threads_that_attach_one_device_do_not_both_succeed() {
    within(120, || {
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        for _ in 0..500 {
            let attach = || device.attach(&ioas).ok();
            let both = thread::scope(|scope| {
                let other = scope.spawn(attach);
                [attach(), other.join().unwrap()]
            });
            assert_eq!(both.iter().flatten().count(), 1);
            assert_eq!(device.group().attached(), 1);
        }
        assert_eq!(device.group().attached(), 0);
    });
}
