//! Copies that race unmaps of all, in both directions: what is copied is what was held, and nobody waits for ever.

#![expect(clippy::panic, reason = "a helper of a test fails the test")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use iommufd::{Access, Error, Ioas, Iommufd, Leaks, Mapped, Mapping};
use rustix::io::Errno;
use tests::at::{PAGE, page};
use tests::memory::Living;
use tests::mock::{MockAccess, MockDevice};
use tests::within::within;

const ROUNDS: usize = 600;

/// What a copy may come to in a race: done, or refused since its source was emptied.
fn done(copy: iommufd::Result<Mapping>) -> Option<Mapping> {
    match copy {
        Ok(copy) => Some(copy),
        Err(Error::Unmapped { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn opposite_copies_race_unmaps_of_both_address_spaces() {
    within(300, || {
        let iommufd = Iommufd::open().unwrap();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioases = [Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap()];
        let _attachment = device.attach(&ioases[0]).unwrap();
        let living = Living::new();
        let over = AtomicBool::new(false);
        let (copied, emptied) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            // Each has places of its own in both.
            let workers: Vec<_> = [(0, 1), (1, 0), (0, 0), (1, 1)]
                .into_iter()
                .zip((0..).step_by(10))
                .map(|((from, to), place)| {
                    let (ioases, living, copied) = (&ioases, &living, &copied);
                    scope.spawn(move || {
                        for round in 0..ROUNDS {
                            let memory = living.memory(PAGE);
                            let source = ioases[from].map_at(page(place), memory, Access::Read);
                            let source = source.unwrap();
                            let copy = ioases[to].copy_at(page(place + 1), &source, Access::Read);
                            copied.fetch_add(usize::from(copy.is_ok()), Ordering::Relaxed);
                            let copy = done(copy);
                            if round % 2 == 0 {
                                source.unmap().unwrap();
                            }
                            copy.map_or(Ok(()), Mapping::unmap).unwrap();
                        }
                    })
                })
                .collect();
            for ioas in &ioases {
                let (over, emptied) = (&over, &emptied);
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let bytes = ioas.unmap_all().unwrap();
                        emptied.fetch_add(usize::from(bytes > 0), Ordering::Relaxed);
                        thread::yield_now();
                    }
                });
            }
            let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            over.store(true, Ordering::Relaxed);
            assert!(results.iter().all(Result::is_ok));
        });
        assert!(copied.into_inner() > 100);
        assert!(emptied.into_inner() > 10);
        assert!(ioases.iter().all(|ioas| ioas.mapped() == Mapped::default()));
        assert_eq!(living.count(), 0);
        assert_eq!(iommufd.leaks(), Leaks::default());
    });
}

/// The source's place is emptied and taken by other memory, over and over, while it is copied. The copy must be of the
/// memory that its mapping holds: else it would lead to memory that nobody keeps.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_copy_is_of_the_mapping_that_was_named_whoever_has_its_place_now() {
    within(300, || {
        let iommufd = Iommufd::open().unwrap();
        let (from, to) = (Ioas::new(&iommufd).unwrap(), Ioas::new(&iommufd).unwrap());
        let access = MockAccess::new(&to).unwrap();
        let living = Living::new();
        let over = AtomicBool::new(false);
        let [emptied, copied] = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    from.unmap_all().unwrap();
                    thread::yield_now();
                }
            });
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let usurper = from.map_at(page(0), living.filled(PAGE, 2), Access::Read);
                    if let Err(error) = usurper {
                        assert_eq!(error.errno(), Some(Errno::EXIST), "{error}");
                    }
                }
            });
            let worker = scope.spawn(|| {
                let mut outcomes = [0, 0];
                for round in 0..ROUNDS {
                    let source = loop {
                        let memory = living.filled(PAGE, 1);
                        if let Ok(source) = from.map_at(page(0), memory, Access::Read) {
                            break source;
                        }
                    };
                    if round % 8 == 0 {
                        // On a busy machine nobody would come between by chance.
                        thread::sleep(Duration::from_millis(2));
                    }
                    let copy = done(to.copy_at(page(1), &source, Access::Read));
                    outcomes[usize::from(copy.is_some())] += 1;
                    drop(source);
                    if let Some(copy) = copy {
                        let mut seen = [0; PAGE];
                        access.read(copy.iova(), &mut seen).unwrap();
                        assert_eq!(seen, [1; PAGE]);
                        copy.unmap().unwrap();
                    }
                }
                outcomes
            });
            let outcomes = worker.join();
            over.store(true, Ordering::Relaxed);
            outcomes.unwrap()
        });
        assert!(
            emptied > 0 && copied > 0,
            "{emptied} emptied, {copied} copied"
        );
        assert_eq!(from.mapped(), Mapped::default());
        drop(access);
        assert_eq!(living.count(), 0);
        assert_eq!(iommufd.leaks(), Leaks::default());
    });
}
