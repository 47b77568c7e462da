//! The last read of what is then unmapped.

use iommufd::{Access, DirtyBitmap, Error, Granule, IovaRange};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages};
use tests::dirty::{Space, bitmap, dirty, look, take, trackable, write_through};
use tests::faults::nothing_is_left;
use tests::mock::MockQueue;
use tests::observe::Recorder;
use tests::refused;

const GET: &str = "IOMMU_HWPT_GET_DIRTY_BITMAP";
const UNMAP: &str = "IOMMU_IOAS_UNMAP";

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn one_call_reads_from_every_tracked_table_and_unmaps() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let mut mapped = space.map(0, 3);
    let other = trackable(&space.ioas, &space.device).unwrap();
    let _third = trackable(&space.ioas, &space.device).unwrap();
    let one = space.hwpt.track_dirty().unwrap();
    let two = other.track_dirty().unwrap();
    space.write([1]);
    write_through(&other, [0, 2]);

    let mut bitmap = bitmap(3);
    for (n, expected) in [(0, vec![0]), (0, vec![0, 1]), (0, vec![0, 1, 2])] {
        recorder.clear();
        mapped.remove(n).unmap_reading_dirty(&mut bitmap).unwrap();
        assert_eq!(recorder.calls(), [GET, GET, UNMAP]);
        assert_eq!(dirty(&bitmap), expected);
    }
    assert_eq!(space.living.count(), 0);
    assert_eq!((take(&one), take(&two)), (vec![], vec![]));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_range_is_read_run_by_run_and_unmapped_in_one_call() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let mapped = [(0, 3), (5, 2), (20, 1)].map(|(first, count)| space.map(first, count));
    let other = trackable(&space.ioas, &space.device).unwrap();
    let one = space.hwpt.track_dirty().unwrap();
    let _two = other.track_dirty().unwrap();
    space.write([1, 6, 20]);
    write_through(&other, [5]);
    let mut bitmap = bitmap(10);
    recorder.clear();
    let bytes = space
        .ioas
        .unmap_range_reading_dirty(pages(0, 15), &mut bitmap)
        .unwrap();
    assert_eq!(bytes, 5 * PAGE as u64);
    assert_eq!(recorder.calls(), [GET, GET, GET, GET, UNMAP]);
    assert_eq!(dirty(&bitmap), [1, 5, 6]);
    assert_eq!(space.living.count(), 1);
    assert_eq!(look(&one), [20], "what stays mapped is as it was");

    // The guards are emptied: there is nothing to read any more.
    recorder.clear();
    let [low, middle, _high] = mapped;
    for mapping in low.into_iter().chain(middle) {
        mapping.unmap_reading_dirty(&mut bitmap).unwrap();
    }
    assert_eq!(recorder.count(), 0);
    let nothing = space
        .ioas
        .unmap_range_reading_dirty(pages(0, 15), &mut bitmap);
    assert!(matches!(nothing, Err(Error::NothingMapped { .. })));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn with_nothing_tracked_nothing_is_unmapped() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let mapping = space.map(0, 1).remove(0);
    let tracking = space.hwpt.track_dirty().unwrap();
    tracking.stop().unwrap();
    recorder.clear();
    let mut bitmap = bitmap(1);
    let refusal = mapping.unmap_reading_dirty(&mut bitmap).unwrap_err();
    assert!(matches!(refusal.error(), Error::NotTracked), "{refusal}");
    let mapping = refusal.into_value();
    let range = space
        .ioas
        .unmap_range_reading_dirty(pages(0, 1), &mut bitmap);
    assert!(matches!(range, Err(Error::NotTracked)));
    assert_eq!(recorder.count(), 0);
    assert_eq!(space.living.count(), 1);

    // A table of another address space does not know.
    let elsewhere = Space::within(space.iommufd.clone());
    let _tracking = elsewhere.hwpt.track_dirty().unwrap();
    let refusal = mapping.unmap_reading_dirty(&mut bitmap).unwrap_err();
    assert!(matches!(refusal.error(), Error::NotTracked), "{refusal}");
    refusal.into_value().unmap().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_bitmap_that_does_not_cover_what_is_unmapped_is_refused_before_any_ioctl() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let memory = space.living.memory(2 * PAGE);
    let map = |n| space.ioas.map_at(page(n), &memory, Access::ReadWrite);
    let mut mapping = map(4).unwrap();
    let _other = map(8).unwrap();
    let tracking = space.hwpt.track_dirty().unwrap();
    space.write([4]);
    recorder.clear();
    for covered in [pages(0, 4), pages(0, 5), pages(5, 10), pages(6, 1)] {
        let mut bitmap = DirtyBitmap::new(covered, Granule::KIB_4).unwrap();
        let refusal = mapping.unmap_reading_dirty(&mut bitmap).unwrap_err();
        match refusal.error() {
            Error::NotCovered {
                bitmap, mapping, ..
            } => assert_eq!((*bitmap, *mapping), (covered, pages(4, 2))),
            other => panic!("{other}"),
        }
        mapping = refusal.into_value();
    }
    let mut bitmap = bitmap(8);
    let range = space
        .ioas
        .unmap_range_reading_dirty(IovaRange::ALL, &mut bitmap);
    assert!(matches!(range, Err(Error::NotCovered { mapping, .. }) if mapping == pages(8, 2)));
    let cut = space
        .ioas
        .unmap_range_reading_dirty(pages(0, 5), &mut bitmap);
    assert!(matches!(cut, Err(Error::PartlyCovered { .. })));
    assert_eq!(recorder.count(), 0);
    assert_eq!(bitmap.count(), 0);
    assert!(look(&tracking).contains(&4));
    mapping.unmap_reading_dirty(&mut bitmap).unwrap();
    assert!(dirty(&bitmap).contains(&4));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_the_kernel_does_not_unmap_stays_dirty() {
    let space = Space::new();
    let mut mapped = space.map(0, 3);
    let queue = MockQueue::new(&space.device, &space.ioas, &mapped[1]).unwrap();
    let tracking = space.hwpt.track_dirty().unwrap();
    space.write([0, 1]);

    let mut once = bitmap(3);
    let refusal = mapped.remove(1).unmap_reading_dirty(&mut once).unwrap_err();
    assert_eq!(refusal.error().errno(), Some(Errno::BUSY));
    let kept = refusal.into_value();
    assert_eq!(dirty(&once), [1], "it was read, and harms nobody");
    assert_eq!(look(&tracking), [0, 1]);

    let mut all = bitmap(3);
    let range = space.ioas.unmap_range_reading_dirty(pages(0, 3), &mut all);
    assert!(matches!(
        range,
        Err(Error::PartlyUnmapped { remaining: 1, .. })
    ));
    assert_eq!(dirty(&all), [0, 1]);
    assert_eq!(space.living.count(), 1);
    assert_eq!(look(&tracking), [1]);

    drop(queue);
    all.clear();
    kept.unmap_reading_dirty(&mut all).unwrap();
    assert_eq!(dirty(&all), [1]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_table_that_cannot_be_read_keeps_the_mapping() {
    let space = Space::new();
    let mut mapped = space.map(0, 2);
    let other = trackable(&space.ioas, &space.device).unwrap();
    let _one = space.hwpt.track_dirty().unwrap();
    let two = other.track_dirty().unwrap();
    space.write([0]);
    // A stranger destroys the second.
    tests::raw::destroy(&space.iommufd, tests::ids::of(&other)).unwrap();
    let mut bitmap = bitmap(2);
    let refusal = mapped
        .remove(0)
        .unmap_reading_dirty(&mut bitmap)
        .unwrap_err();
    assert!(
        matches!(refusal.error(), Error::NotRead { range, .. } if *range == pages(0, 1)),
        "{refusal}"
    );
    let kept = refusal.into_value();
    let range = space
        .ioas
        .unmap_range_reading_dirty(pages(0, 2), &mut bitmap);
    refused(range, Errno::NOENT);
    assert_eq!(space.living.count(), 2);
    drop(two);
    kept.unmap_reading_dirty(&mut bitmap).unwrap();
    assert_eq!(space.living.count(), 1);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_last_read_goes_into_the_callers_words() {
    let space = Space::new();
    let mapped = space.map(3, 2);
    let _tracking = space.hwpt.track_dirty().unwrap();
    space.write([4]);
    let mut words = [1];
    let mut bitmap = DirtyBitmap::over(pages(0, 64), Granule::KIB_4, &mut words).unwrap();
    for mapping in mapped {
        mapping.unmap_reading_dirty(&mut bitmap).unwrap();
    }
    assert_eq!(words, [1 << 4 | 1]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn an_unmap_that_fails_after_the_read_or_in_it_loses_no_bit() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = iommufd::Ioas::new(iommufd)?;
        let tables = [trackable(&ioas, device)?, trackable(&ioas, device)?];
        let mapping = ioas.map_at(page(0), living.memory(PAGE), Access::ReadWrite)?;
        let trackings = [tables[0].track_dirty()?, tables[1].track_dirty()?];
        write_through(&tables[1], [0]);
        let mut read = bitmap(1);
        let mut again = bitmap(1);
        match nth.armed(|| mapping.unmap_reading_dirty(&mut read)) {
            Ok(()) => {
                assert_eq!(dirty(&read), [0]);
                assert_eq!(living.count(), 0);
                // An ENOENT that was not true is made up for.
                match nth.failed() {
                    true => Err(Error::NotAttached),
                    false => Ok(()),
                }
            }
            Err(refused) => {
                let (mapping, error) = refused.into_parts();
                assert_eq!(living.count(), 1);
                assert_eq!(look(&trackings[1]), [0], "{error}");
                mapping.unmap_reading_dirty(&mut again)?;
                assert_eq!(dirty(&again), [0]);
                Err(error)
            }
        }
    });
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_range_unmap_that_fails_loses_no_bit() {
    nothing_is_left(|nth, iommufd, device, living| {
        let ioas = iommufd::Ioas::new(iommufd)?;
        let hwpt = trackable(&ioas, device)?;
        let memory = living.memory(PAGE);
        let mut mapped = Vec::new();
        for n in [0, 1, 4] {
            mapped.push(ioas.map_at(page(n), &memory, Access::ReadWrite)?);
        }
        let tracking = hwpt.track_dirty()?;
        write_through(&hwpt, [1, 4]);
        let mut read = bitmap(5);
        let result = nth.armed(|| ioas.unmap_range_reading_dirty(pages(0, 5), &mut read));
        match result {
            Ok(bytes) => {
                assert_eq!(bytes, 3 * PAGE as u64);
                assert_eq!(dirty(&read), [1, 4]);
                match nth.failed() {
                    true => Err(Error::NotAttached),
                    false => Ok(()),
                }
            }
            Err(error) => {
                assert!(!matches!(error, Error::PartlyUnmapped { .. }), "{error}");
                assert_eq!(look(&tracking), [1, 4], "{error}");
                Err(error)
            }
        }
    });
}
