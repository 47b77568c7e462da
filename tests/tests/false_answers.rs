//! An unmap that the kernel answers with `ENOENT`, though the mapping is there, as a kernel with injected faults does
//! when it looks up the address space. Memory is let go of only when it is out of the kernel's reach.

use std::sync::{Arc, Barrier};
use std::thread;

use iommufd::{Access, DmaMemory, Error, Ioas, Iommufd};
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::faults::{Once, Points, sweep};
use tests::memory::Living;
use tests::mock::{MockAccess, MockDevice, MockQueue, check_pins};
use tests::observe::Recorder;
use tests::within::within;
use tests::{ids, raw};

const ROUNDS: usize = 3000;

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_unmap_that_was_not_found_is_asked_for_again() {
    let (iommufd, recorder) = Recorder::context();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    let mapping = ioas.map(living.memory(PAGE), Access::Read).unwrap();
    let mut mapping = Some(mapping);
    recorder.clear();
    sweep(Points::Iommufd, |nth| {
        let mapping = mapping.take();
        nth.armed(|| drop(mapping));
        if nth.point() == 1 {
            assert!(nth.failed());
            assert_eq!(
                recorder.answers(),
                [
                    ("IOMMU_IOAS_UNMAP", Err(Errno::NOENT)),
                    ("IOMMU_IOAS_UNMAP", Ok(())),
                ]
            );
            let left = raw::unmap(&iommufd, ids::of(&ioas), 0, u64::MAX);
            assert_eq!(left, Ok(0), "the kernel has nothing left");
            assert_eq!(living.count(), 0);
        }
    });
    assert_eq!(iommufd.leaks(), iommufd::Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn memory_that_the_kernel_keeps_stays_though_it_was_not_found_at_first() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let living = Living::new();
    sweep(Points::Iommufd, |nth| {
        let memory = living.memory(PAGE);
        let mapping = ioas.map_at(page(0), &memory, Access::ReadWrite).unwrap();
        let queue = MockQueue::new(&device, &ioas, &mapping).unwrap();
        drop(memory);
        // Truly it is EBUSY: the hardware queue uses the memory.
        let answer = nth.armed(|| mapping.unmap());
        assert_eq!(living.count(), 1, "the queue reaches it: {answer:?}");
        drop(queue);
        answer.unwrap_err().into_value().unmap().unwrap();
        assert_eq!(living.count(), 0);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn unmapping_all_keeps_what_the_kernel_keeps_though_it_was_not_found_at_first() {
    let iommufd = Iommufd::open().unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let living = Living::new();
    sweep(Points::Iommufd, |nth| {
        let memories: Vec<_> = (0..3).map(|_| living.memory(PAGE)).collect();
        let guards: Vec<_> = (0..)
            .zip(&memories)
            .map(|(n, memory)| ioas.map_at(page(n), memory, Access::ReadWrite).unwrap())
            .collect();
        let queue = MockQueue::new(&device, &ioas, &guards[1]).unwrap();
        let held: Vec<_> = memories.iter().map(Arc::downgrade).collect();
        let answer = nth.armed(|| ioas.unmap_all());
        let reached: Vec<_> = memories
            .iter()
            .map(|memory| check_pins(&iommufd, memory.bytes(), 0).is_err())
            .collect();
        drop(memories);
        for (held, reached) in held.iter().zip(reached) {
            let alive = held.strong_count() > 0;
            assert!(alive || !reached, "freed in the kernel's reach: {answer:?}");
        }
        assert!(matches!(
            answer.unwrap_err(),
            Error::PartlyUnmapped { remaining: 1, .. }
        ));
        drop((queue, guards));
        assert_eq!(living.count(), 0);
    });
}

/// While one thread's unmap is answered falsely, another empties the address space and maps in the same place.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn asking_again_does_not_unmap_a_successor() {
    within(120, || {
        let iommufd = Iommufd::open().unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let access = MockAccess::new(&ioas).unwrap();
        let living = Living::new();
        let (begin, end) = (Barrier::new(2), Barrier::new(2));
        let (mut held, mut lost) = (0, 0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut once = Once::new();
                for _ in 0..ROUNDS {
                    let memory = living.filled(PAGE, 1);
                    let mapping = ioas.map_at(page(0), memory, Access::Read).unwrap();
                    begin.wait();
                    once.armed(|| drop(mapping));
                    end.wait();
                    begin.wait();
                }
            });
            for round in 0..ROUNDS {
                let memory = living.filled(PAGE, 2);
                begin.wait();
                // Not always at the same moment.
                (0..round % 500).for_each(|_| std::hint::spin_loop());
                ioas.unmap_all().unwrap();
                let successor = ioas.map_at(page(0), memory, Access::Read);
                // The other thread is done with what it asked for.
                end.wait();
                if let Ok(mapping) = successor {
                    held += 1;
                    let mut byte = [0];
                    let seen = access.read(page(0), &mut byte);
                    lost += usize::from(seen.is_err() || byte != [2]);
                    mapping.unmap().unwrap();
                }
                begin.wait();
            }
        });
        assert!(held > ROUNDS / 2, "{held}");
        assert_eq!(lost, 0, "of {held} mappings, by nobody's unmap");
        assert_eq!(living.count(), 0);
    });
}
