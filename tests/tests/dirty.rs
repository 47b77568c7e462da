//! The guard of dirty tracking: who gets one, what it holds, how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use iommufd::{Access, Capabilities, DirtyBitmap, Error, Granule, HwPt, NestParent};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::dirty::{Space, bitmap, device_without, dirty, look, take, trackable, write_through};
use tests::faults::{Points, nothing_is_left, sweep};
use tests::fork::in_child;
use tests::memory::forget;
use tests::mock::MockDevice;
use tests::observe::Recorder;
use tests::within::within;
use tests::{ids, raw, refused};

const SET: &str = "IOMMU_HWPT_SET_DIRTY_TRACKING";

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn tracking_begins_with_nothing_dirty() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let _mapped = space.map(0, 4);
    recorder.clear();
    let tracking = space.hwpt.track_dirty().unwrap();
    assert_eq!(recorder.answers(), [(SET, Ok(()))]);
    space.write([1, 2]);
    assert_eq!(look(&tracking), [1, 2]);
    tracking.stop().unwrap();
    // What is left of one tracking is not found by the next.
    let tracking = space.hwpt.track_dirty().unwrap();
    assert_eq!(look(&tracking), [0_u64; 0]);
    space.write([3]);
    assert_eq!(take(&tracking), [3]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn stopping_and_dropping_stop_the_record() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let _mapped = space.map(0, 1);
    let id = ids::of(&space.hwpt);
    let at = (page(0).get(), PAGE as u64);
    let write = || tests::mock::set_dirty(&space.iommufd, id, at, PAGE as u64, &[1]);
    assert_eq!(write(), Err(Errno::INVAL), "nothing is recorded");
    for explicitly in [true, false] {
        let tracking = space.hwpt.track_dirty().unwrap();
        assert_eq!(write(), Ok(1));
        recorder.clear();
        match explicitly {
            true => tracking.stop().unwrap(),
            false => drop(tracking),
        }
        assert_eq!(recorder.answers(), [(SET, Ok(()))]);
        assert_eq!(write(), Err(Errno::INVAL));
    }
    assert_eq!(space.iommufd.leaks(), iommufd::Leaks::default());
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_table_without_the_option_and_a_second_guard_are_refused_without_an_ioctl() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let plain = HwPt::new(&space.ioas, &space.device).unwrap();
    let parent = NestParent::new(&space.ioas, &space.device).unwrap();
    let tracking = space.hwpt.track_dirty().unwrap();
    recorder.clear();
    let not_trackable = |error| matches!(error, Error::NotTrackable);
    assert!(not_trackable(plain.track_dirty().unwrap_err()));
    assert!(not_trackable(parent.track_dirty().unwrap_err()));
    let again = space.hwpt.clone().track_dirty().unwrap_err();
    assert!(matches!(again, Error::AlreadyTracked), "{again}");
    assert_eq!(recorder.count(), 0);
    tracking.stop().unwrap();
    drop(space.hwpt.track_dirty().unwrap());
    let tracking = space.hwpt.track_dirty().unwrap();
    tracking.stop().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn two_threads_that_track_one_table_do_not_both_succeed() {
    within(60, || {
        let space = Space::new();
        for _ in 0..300 {
            let track = || space.hwpt.track_dirty().ok();
            let both = thread::scope(|scope| {
                let other = scope.spawn(track);
                [track(), other.join().unwrap()]
            });
            assert_eq!(both.iter().flatten().count(), 1);
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_device_whose_iommu_does_not_record_has_no_such_table_and_attaches_to_none() {
    let space = Space::new();
    let device = device_without(&space.iommufd);
    let can = |device: &MockDevice| {
        let capabilities = device.hw_info().unwrap().capabilities;
        capabilities.contains(Capabilities::DIRTY_TRACKING)
    };
    assert!(can(&space.device) && !can(&device));
    refused(trackable(&space.ioas, &device), Errno::OPNOTSUPP);
    let parent = NestParent::builder(&space.ioas, &device).dirty_tracking(true);
    refused(parent.allocate(), Errno::OPNOTSUPP);
    HwPt::new(&space.ioas, &device).unwrap();

    refused(device.attach(&space.hwpt).map(drop), Errno::INVAL);
    assert_eq!(device.group().attached(), 0);
    let tracking = space.hwpt.track_dirty().unwrap();
    refused(device.attach(&space.hwpt).map(drop), Errno::INVAL);
    // Nor by moving it there, which leaves it where it was.
    let mut attachment = device.attach(&space.ioas).unwrap();
    let refusal = attachment.replace(&space.hwpt).unwrap_err();
    assert_eq!(refusal.errno(), Some(Errno::INVAL));
    assert!(attachment.target().is_some());
    drop(attachment);
    // One that can is attached while it is tracked.
    let attachment = space.device.attach(&space.hwpt).unwrap();
    tracking.stop().unwrap();
    attachment.detach().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_nesting_parent_is_tracked_like_a_table() {
    let space = Space::new();
    let parent = NestParent::builder(&space.ioas, &space.device).dirty_tracking(true);
    let parent = parent.allocate().unwrap();
    let _mapped = [(0, 3), (6, 2)].map(|(first, count)| space.map(first, count));
    let tracking = parent.track_dirty().unwrap();
    assert_eq!(ids::of(tracking.ioas()), ids::of(&space.ioas));
    write_through(&parent, [1, 6, 7]);
    assert_eq!(take(&tracking), [1, 6, 7]);
    assert_eq!(take(&tracking), [0_u64; 0]);
    let parent = parent.try_destroy().unwrap_err().into_value();
    tracking.stop().unwrap();
    parent.try_destroy().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_guard_holds_the_table() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let _mapped = space.map(0, 1);
    let tracking = space.hwpt.track_dirty().unwrap();
    recorder.clear();
    let refusal = space.hwpt.try_destroy().unwrap_err();
    assert!(matches!(refusal.error(), Error::InUse { holders: 1, .. }));
    assert_eq!(recorder.count(), 0);
    let hwpt = refusal.into_value();
    write_through(&hwpt, [0]);
    drop(hwpt);
    assert_eq!(recorder.count(), 0);
    assert_eq!(take(&tracking), [0]);
    recorder.clear();
    drop(tracking);
    assert_eq!(recorder.calls(), [SET, "IOMMU_DESTROY"], "first the record");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_forgotten_guard_goes_on_and_nobody_else_gets_one() {
    let space = Space::new();
    let mut mapped = space.map(0, 2);
    forget(space.hwpt.track_dirty().unwrap());
    let again = space.hwpt.track_dirty().unwrap_err();
    assert!(matches!(again, Error::AlreadyTracked), "{again}");
    space.write([1]);
    let mut bitmap = bitmap(2);
    mapped.remove(1).unmap_reading_dirty(&mut bitmap).unwrap();
    assert_eq!(dirty(&bitmap), [1]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn p15_a_refused_stop_gives_the_guard_back_and_in_a_drop_is_counted_and_told() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let tracking = space.hwpt.track_dirty().unwrap();
    // A stranger has the table destroyed: what is left is a guard of nothing.
    raw::destroy(&space.iommufd, ids::of(&space.hwpt)).unwrap();
    let refusal = tracking.stop().unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::NOENT));
    assert!(refusal.to_string().contains("gone"), "{refusal}");
    recorder.clear();
    drop(refusal.into_value());
    assert_eq!(
        recorder.refusals(),
        [("dirty tracking", Some(Errno::NOENT))]
    );
    assert_eq!(space.iommufd.leaks().objects, 1);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn in_a_child_of_a_fork_nothing_is_read_and_nothing_stopped() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let mapped = space.map(0, 2).pop().unwrap();
    let other = trackable(&space.ioas, &space.device).unwrap();
    let tracking = space.hwpt.track_dirty().unwrap();
    space.write([1]);
    recorder.clear();
    let mut inherited = Some((tracking, mapped));
    in_child(|| {
        let forked = |error: &Error| matches!(error, Error::Forked);
        let (tracking, mapped) = inherited.take().unwrap();
        let mut bitmap = bitmap(4);
        assert!(forked(&other.track_dirty().unwrap_err()));
        assert!(forked(&tracking.read(&mut bitmap).unwrap_err()));
        assert!(forked(&tracking.read_and_clear(&mut bitmap).unwrap_err()));
        let range = space
            .ioas
            .unmap_range_reading_dirty(pages(0, 4), &mut bitmap);
        assert!(forked(&range.unwrap_err()));
        let refusal = mapped.unmap_reading_dirty(&mut bitmap).unwrap_err();
        assert!(forked(refusal.error()));
        let refusal = tracking.stop().unwrap_err();
        assert!(forked(refusal.error()));
        drop(refusal);
        assert_eq!(bitmap.count(), 0);
        assert_eq!((recorder.count(), recorder.refusals()), (0, vec![]));
        assert_eq!(space.iommufd.leaks(), iommufd::Leaks::default());
    });
    let (tracking, _mapped) = inherited.unwrap();
    assert_eq!(take(&tracking), [1], "the parent's record goes on");
    tracking.stop().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_observer_may_track_read_and_unmap_itself() {
    within(60, || {
        let (iommufd, recorder) = Recorder::context();
        let space = Arc::new(Space::within(iommufd));
        let mapped = space.map(0, 4);
        let other = trackable(&space.ioas, &space.device).unwrap();
        let tracking = space.hwpt.track_dirty().unwrap();
        let busy = AtomicBool::new(false);
        let calls = Arc::new(AtomicUsize::new(0));
        let (inner, count) = (Arc::clone(&space), Arc::clone(&calls));
        recorder.hook(move |_| {
            if busy.swap(true, Ordering::Relaxed) {
                return;
            }
            let more = inner.map(20, 1);
            let tracking = other.track_dirty().unwrap();
            let mut bitmap = bitmap(30);
            tracking.read_and_clear(&mut bitmap).unwrap();
            let range = inner
                .ioas
                .unmap_range_reading_dirty(pages(20, 1), &mut bitmap);
            assert_eq!(range.unwrap(), PAGE as u64);
            drop((tracking, more));
            count.fetch_add(1, Ordering::Relaxed);
            busy.store(false, Ordering::Relaxed);
        });
        let mut bitmap = bitmap(10);
        tracking.read(&mut bitmap).unwrap();
        tracking.read_and_clear(&mut bitmap).unwrap();
        for mapping in mapped {
            mapping.unmap_reading_dirty(&mut bitmap).unwrap();
        }
        tracking.stop().unwrap();
        // Each of these is told of, and was not in the way.
        assert_eq!(calls.load(Ordering::Relaxed), 1 + 1 + 4 * 2 + 1);
        recorder.unhook();
    });
}

/// Every page that was written is found once at least, whoever reads it, whoever unmaps it.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn nothing_is_lost_between_readers_and_unmaps_that_race() {
    const PAGES: u64 = 300;
    within(300, || {
        let space = Space::new();
        let _always = space.map(PAGES, 1);
        let tracking = space.hwpt.track_dirty().unwrap();
        let done = AtomicBool::new(false);
        let (found, rounds) = thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut found, mut rounds) = (bitmap(PAGES + 1), 0);
                        while !done.load(Ordering::Relaxed) {
                            tracking.read_and_clear(&mut found).unwrap();
                            rounds += 1;
                        }
                        (found, rounds)
                    })
                })
                .collect();
            let mut last = bitmap(PAGES + 1);
            for n in 0..PAGES {
                let mut mapped = space.map(n, 1);
                space.write([n]);
                if n % 2 == 0 {
                    let mapping = mapped.remove(0);
                    mapping.unmap_reading_dirty(&mut last).unwrap();
                } else {
                    let range = pages(n, 1);
                    let bytes = space.ioas.unmap_range_reading_dirty(range, &mut last);
                    assert_eq!(bytes.unwrap(), PAGE as u64);
                }
            }
            done.store(true, Ordering::Relaxed);
            let mut found = vec![last];
            let mut rounds = 0;
            for reader in readers {
                let (bitmap, count) = reader.join().unwrap();
                found.push(bitmap);
                rounds += count;
            }
            (found, rounds)
        });
        assert!(rounds > 100, "{rounds}");
        for n in 0..PAGES {
            let at = page(n);
            let by = found
                .iter()
                .filter(|found| found.is_dirty(at) == Some(true));
            // Two readers may see it at the same time.
            assert!(by.count() > 0, "page {n}");
        }
        assert_eq!(space.living.count(), 1);
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn several_threads_read_parts_of_one_table() {
    within(60, || {
        let space = Space::new();
        let _mapped: Vec<_> = (0..4).map(|n| space.map(100 * n, 50)).collect();
        let tracking = space.hwpt.track_dirty().unwrap();
        for _ in 0..100 {
            space.write((0..4).map(|n| 100 * n + 49));
            thread::scope(|scope| {
                for n in 0..4 {
                    let tracking = &tracking;
                    scope.spawn(move || {
                        let part = pages(100 * n, 100);
                        let mut bitmap = DirtyBitmap::new(part, Granule::KIB_4).unwrap();
                        tracking.read_and_clear(&mut bitmap).unwrap();
                        assert_eq!(dirty(&bitmap), [100 * n + 49]);
                    });
                }
            });
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_tracking_that_fails_is_no_tracking() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = iommufd::Ioas::new(iommufd)?;
        let _mapping = ioas.map_at(page(0), living.memory(PAGE), Access::ReadWrite)?;
        let hwpt = trackable(&ioas, device)?;
        match nth.armed(|| hwpt.track_dirty()) {
            Ok(tracking) => {
                write_through(&hwpt, [0]);
                assert_eq!(take(&tracking), [0]);
                tracking.stop()?;
                Ok(())
            }
            Err(error) => {
                hwpt.track_dirty()?.stop()?;
                Err(error)
            }
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_read_that_fails_loses_no_bit() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = iommufd::Ioas::new(iommufd)?;
        let memory = living.memory(PAGE);
        let mut mapped = Vec::new();
        for n in [0, 1, 4, 9] {
            mapped.push(ioas.map_at(page(n), &memory, Access::ReadWrite)?);
        }
        let hwpt = trackable(&ioas, device)?;
        let tracking = hwpt.track_dirty()?;
        write_through(&hwpt, [1, 4, 9]);
        let mut bitmap = bitmap(10);
        let result = nth.armed(|| tracking.read_and_clear(&mut bitmap));
        let read = dirty(&bitmap);
        if let Err(error) = &result {
            if let Error::NotRead { range, .. } = error {
                // What came before is in the bitmap, and what comes after is not.
                let before = |n: &u64| page(*n) < range.start();
                let expected: Vec<_> = [1, 4, 9].into_iter().filter(before).collect();
                assert_eq!(read, expected, "{error}");
            }
            assert_eq!(look(&tracking), [1, 4, 9][read.len()..]);
            tracking.read_and_clear(&mut bitmap)?;
        }
        assert_eq!(dirty(&bitmap), [1, 4, 9]);
        assert_eq!(look(&tracking), [0_u64; 0]);
        result
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_stop_that_fails_gives_the_guard_back() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = iommufd::Ioas::new(iommufd)?;
        let _mapping = ioas.map_at(page(0), living.memory(PAGE), Access::ReadWrite)?;
        let hwpt = trackable(&ioas, device)?;
        let tracking = hwpt.track_dirty()?;
        match nth.armed(|| tracking.stop()) {
            Ok(()) => Ok(()),
            Err(refused) => {
                let (tracking, error) = refused.into_parts();
                write_through(&hwpt, [0]);
                assert_eq!(take(&tracking), [0]);
                tracking.stop()?;
                Err(error)
            }
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_dropped_guard_has_stopped_or_is_counted_and_can_be_had_anew() {
    for points in [Points::Iommufd, Points::Everywhere] {
        let mut refusals = 0;
        sweep(points, |nth| {
            let (iommufd, recorder) = Recorder::context();
            let space = Space::within(iommufd);
            let _mapped = space.map(0, 1);
            let tracking = space.hwpt.track_dirty().unwrap();
            nth.armed(|| drop(tracking));
            let leaks = space.iommufd.leaks();
            assert_eq!(leaks.objects, recorder.refusals().len() as u64);
            refusals += leaks.objects;
            let tracking = space.hwpt.track_dirty().unwrap();
            assert_eq!(look(&tracking), [0_u64; 0]);
            space.write([0]);
            assert_eq!(look(&tracking), [0]);
        });
        assert!(refusals > 0);
    }
}
