//! Reading what devices have written: into bitmaps of every shape, from mappings with and without holes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iommufd::{
    Access, DirtyBitmap, DmaBuffer, DmaSlice, Error, Granule, HugePage, Iova, IovaRange,
};
use rustix::io::Errno;
use tests::at::{PAGE, page, pages, range};
use tests::dirty::{Space, ask_kernel, bitmap, dirty, granule, look, take, trackable, write_at};
use tests::mock;
use tests::observe::Recorder;

/// The addresses that are dirty in a bitmap, counted from the first page on.
fn offsets<B: AsRef<[u64]>>(bitmap: &DirtyBitmap<B>) -> Vec<(u64, u64)> {
    let offset = |iova: Iova| iova.get() - page(0).get();
    let runs = bitmap.runs();
    runs.map(|run| (offset(run.start()), offset(run.last())))
        .collect()
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_was_written_is_read_once_and_is_clean_then() {
    let space = Space::new();
    let _mapped = space.map(0, 8);
    let tracking = space.hwpt.track_dirty().unwrap();
    assert_eq!(take(&tracking), [0_u64; 0]);
    space.write([1, 2, 7]);
    assert_eq!(take(&tracking), [1, 2, 7]);
    assert_eq!(take(&tracking), [0_u64; 0]);
    space.write([2]);
    assert_eq!(take(&tracking), [2], "the record goes on");
    tracking.stop().unwrap();
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_read_that_keeps_what_is_dirty_finds_it_again() {
    let space = Space::new();
    let _mapped = space.map(0, 4);
    let tracking = space.hwpt.track_dirty().unwrap();
    space.write([0, 3]);
    assert_eq!(look(&tracking), [0, 3]);
    assert_eq!(look(&tracking), [0, 3]);
    space.write([1]);
    assert_eq!(take(&tracking), [0, 1, 3]);
    assert_eq!(look(&tracking), [0_u64; 0]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn bits_gather_until_they_are_cleared() {
    let space = Space::new();
    let _mapped = space.map(0, 8);
    let tracking = space.hwpt.track_dirty().unwrap();
    let mut bitmap = bitmap(8);
    for n in 0..4 {
        space.write([2 * n]);
        tracking.read_and_clear(&mut bitmap).unwrap();
    }
    assert_eq!(dirty(&bitmap), [0, 2, 4, 6]);
    assert_eq!(bitmap.count(), 4);
    bitmap.clear();
    tracking.read_and_clear(&mut bitmap).unwrap();
    assert_eq!(bitmap.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_hole_ends_nothing_and_what_has_none_is_one_ioctl() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let _mapped = [(0, 3), (5, 1), (9, 2), (20, 8)].map(|(first, count)| space.map(first, count));
    let tracking = space.hwpt.track_dirty().unwrap();
    let written = [0, 2, 5, 10, 20, 21, 27];
    space.write(written);
    // The kernel stops at the first hole, and answers that all is well.
    assert_eq!(ask_kernel(&space.hwpt, pages(0, 28), true), [0, 2]);
    recorder.clear();
    assert_eq!(take(&tracking), written);
    assert_eq!(recorder.calls(), ["IOMMU_HWPT_GET_DIRTY_BITMAP"; 4]);
    assert_eq!(take(&tracking), [0_u64; 0]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn where_nothing_is_mapped_the_kernel_is_not_asked() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let _elsewhere = space.map(100, 1);
    let tracking = space.hwpt.track_dirty().unwrap();
    recorder.clear();
    assert_eq!(take(&tracking), [0_u64; 0]);
    assert_eq!(recorder.count(), 0);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_is_mapped_later_is_read_as_well_and_what_is_gone_is_not() {
    let space = Space::new();
    let mut mapped = space.map(0, 1);
    let tracking = space.hwpt.track_dirty().unwrap();
    mapped.extend(space.map(1, 3));
    space.write(0..4);
    mapped.remove(1).unmap().unwrap();
    assert_eq!(take(&tracking), [0, 2, 3]);
    let _again = space.map(1, 1);
    space.write(0..4);
    assert_eq!(take(&tracking), [0, 1, 2, 3]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_run_can_begin_at_any_bit_of_the_bitmap() {
    let space = Space::new();
    let _mapped = space.map(200, 150);
    let tracking = space.hwpt.track_dirty().unwrap();
    for before in 0..=200 {
        let written = [200, 201, 263, 264, 300, 349];
        space.write(written);
        // And end at any.
        let covered = pages(before, 200 - before + 150 + before % 7);
        let mut bitmap = DirtyBitmap::new(covered, Granule::KIB_4).unwrap();
        tracking.read_and_clear(&mut bitmap).unwrap();
        assert_eq!(dirty(&bitmap), written, "{covered}");
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_granule_can_be_coarser_than_a_page() {
    let space = Space::new();
    // The ends are multiples of no granule but a page's.
    let _mapped = [(1, 14), (17, 6)].map(|(first, count)| space.map(first, count));
    let tracking = space.hwpt.track_dirty().unwrap();
    for shift in 0..12 {
        space.write([1, 2, 12, 17, 22]);
        let granule = granule((PAGE as u64) << shift);
        let mut bitmap = DirtyBitmap::new(pages(0, 40), granule).unwrap();
        tracking.read_and_clear(&mut bitmap).unwrap();
        let of = |n: u64| n >> shift;
        let mut expected: Vec<_> = [1, 2, 12, 17, 22].map(of).into();
        expected.dedup();
        let found: Vec<_> = (0..40 >> shift)
            .filter(|n| bitmap.is_dirty(page(n << shift)) == Some(true))
            .collect();
        expected.retain(|n| *n < 40 >> shift);
        assert_eq!(found, expected, "{granule}");
        assert_eq!(look(&tracking), [0_u64; 0]);
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_granule_can_be_finer_than_a_page() {
    let space = Space::new();
    let _mapped = space.map(1, 3);
    let tracking = space.hwpt.track_dirty().unwrap();
    for shift in 0..=12 {
        space.write([2]);
        let granule = granule(1 << shift);
        let mut bitmap = DirtyBitmap::new(pages(0, 5), granule).unwrap();
        tracking.read_and_clear(&mut bitmap).unwrap();
        assert_eq!(offsets(&bitmap), [(0x2000, 0x2fff)], "{granule}");
        assert_eq!(bitmap.count(), PAGE as u64 >> shift);
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_iommus_pages_can_be_smaller_than_the_cpus() {
    let space = Space::new();
    let memory = space.living.memory(2 * PAGE);
    let half = mock::PAGE as usize;
    let map = |at: u64, from: usize| {
        let slice = DmaSlice::new(Arc::clone(&memory), from..from + half).unwrap();
        let iova = Iova::new(page(0).get() + at);
        space.ioas.map_at(iova, slice, Access::ReadWrite).unwrap()
    };
    let _mapped = [map(0x800, 0x1800), map(0x1000, 0), map(0x2800, 0x800)];
    let tracking = space.hwpt.track_dirty().unwrap();
    let write = || {
        for at in [0x1000, 0x2800] {
            write_at(&space.hwpt, Iova::new(page(0).get() + at));
        }
    };
    let read = |granule| {
        let mut bitmap = DirtyBitmap::new(pages(0, 4), granule).unwrap();
        tracking.read_and_clear(&mut bitmap).unwrap();
        offsets(&bitmap)
    };
    write();
    assert_eq!(read(granule(0x800)), [(0x1000, 0x17ff), (0x2800, 0x2fff)]);
    write();
    assert_eq!(read(granule(0x400)), [(0x1000, 0x17ff), (0x2800, 0x2fff)]);
    write();
    assert_eq!(read(Granule::KIB_4), [(0x1000, 0x2fff)]);
    assert_eq!(read(Granule::KIB_4), [(0_u64, 0_u64); 0]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_bitmap_can_begin_and_end_in_the_middle_of_everything() {
    let space = Space::new();
    let _mapped = space.map(10, 20);
    let tracking = space.hwpt.track_dirty().unwrap();
    for odd in [1, 0x7ff, 0x800, 0x801, 0xfff] {
        space.write([10, 15, 29]);
        let covered = range(page(9).get() + odd, page(30).get() + odd);
        let mut bitmap = DirtyBitmap::new(covered, Granule::KIB_4).unwrap();
        tracking.read_and_clear(&mut bitmap).unwrap();
        // A page is in two granules then.
        for (n, is_dirty) in [(9, true), (10, true), (12, false), (14, true), (15, true)] {
            let first = Iova::new(page(n).get() + odd);
            assert_eq!(bitmap.is_dirty(first), Some(is_dirty), "{n} at {odd:#x}");
        }
        assert_eq!(bitmap.count(), 6);
    }
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn one_bitmap_can_be_of_all_there_is() {
    let space = Space::new();
    let _mapped = [(3, 1), (1000, 2)].map(|(first, count)| space.map(first, count));
    let tracking = space.hwpt.track_dirty().unwrap();
    space.write([1001]);
    let mut bitmap = DirtyBitmap::new(IovaRange::ALL, granule(1 << 40)).unwrap();
    tracking.read_and_clear(&mut bitmap).unwrap();
    assert_eq!(bitmap.count(), 1);
    assert_eq!(bitmap.is_dirty(page(1001)), Some(true));
    assert_eq!(take(&tracking), [0_u64; 0]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_callers_words_are_set_and_the_words_beside_them_are_not() {
    let space = Space::new();
    let _mapped = space.map(0, 70);
    let tracking = space.hwpt.track_dirty().unwrap();
    space.write([0, 63, 64, 69]);
    let mut words = [0; 4];
    words[1] = 1 << 62;
    {
        let (_, rest) = words.split_first_mut().unwrap();
        let mut bitmap = DirtyBitmap::over(pages(0, 70), Granule::KIB_4, rest).unwrap();
        tracking.read_and_clear(&mut bitmap).unwrap();
        assert_eq!(dirty(&bitmap), [0, 62, 63, 64, 69]);
    }
    assert_eq!(words, [0, 1 | 1 << 62 | 1 << 63, 1 | 1 << 5, 0]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn many_words_are_read_and_a_smaller_read_after_a_larger_one_finds_nothing_else() {
    // 512 MiB of address space: bits for 16 KiB, of one run.
    let space = Space::new();
    let memory = space.living.memory(1 << 20);
    let map = |n: u64| {
        let at = page(256 * n);
        space.ioas.map_at(at, &memory, Access::ReadWrite).unwrap()
    };
    let mapped: Vec<_> = (0..512).map(map).collect();
    let end = page(256 * 512);
    let _last = space.map(256 * 512, 1);
    let tracking = space.hwpt.track_dirty().unwrap();
    space.write((0..512).map(|n| 256 * n + 17));
    let mut all = bitmap(256 * 512 + 1);
    tracking.read_and_clear(&mut all).unwrap();
    for n in 0..512 {
        assert_eq!(all.is_dirty(page(256 * n + 17)), Some(true), "{n}");
    }
    assert_eq!(all.is_dirty(end), Some(false));
    all.clear();
    drop(mapped);
    space.write([256 * 512]);
    tracking.read_and_clear(&mut all).unwrap();
    assert_eq!(dirty(&all), [256 * 512]);
}

/// What the kernel does with entries of the page table that are larger than what it is asked for, and why the SDK asks
/// for whole mappings and has it write to pages of its own.
#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn the_kernel_clears_a_large_page_of_which_it_tells_only_a_part() {
    const HUGE: u64 = 512;
    let space = Space::new();
    let shared = DmaBuffer::huge(2 << 20, HugePage::Size2M).unwrap().share();
    // Past a multiple of 2 MiB, by which the page table's entry is as large.
    let at = page(HUGE);
    let _mapping = space.ioas.map_at(at, &shared, Access::ReadWrite).unwrap();
    let tracking = space.hwpt.track_dirty().unwrap();
    let all: Vec<u64> = (0..HUGE).collect();

    write_at(&space.hwpt, at);
    assert_eq!(ask_kernel(&space.hwpt, pages(HUGE, HUGE), true), all);
    // Asked for one page, it writes 512 bits: beyond a bitmap that has a word for it.
    assert_eq!(ask_kernel(&space.hwpt, pages(HUGE, 1), true), all);
    // Asked from the middle on, it says nothing, and clears all.
    assert_eq!(
        ask_kernel(&space.hwpt, pages(HUGE + 1, HUGE - 1), false),
        [0_u64; 0]
    );
    assert_eq!(ask_kernel(&space.hwpt, pages(HUGE, HUGE), true), [0_u64; 0]);

    write_at(&space.hwpt, at);
    for part in [
        pages(HUGE, 1),
        pages(HUGE + 1, HUGE),
        pages(0, 2 * HUGE - 1),
    ] {
        let mut bitmap = DirtyBitmap::new(part, Granule::KIB_4).unwrap();
        match tracking.read_and_clear(&mut bitmap).unwrap_err() {
            Error::NotCovered {
                bitmap, mapping, ..
            } => {
                assert_eq!(bitmap, part);
                assert_eq!(mapping, pages(HUGE, HUGE));
            }
            other => panic!("{other}"),
        }
        assert_eq!(bitmap.count(), 0);
    }
    let mut bitmap = DirtyBitmap::new(pages(HUGE - 3, 2 * HUGE), Granule::KIB_4).unwrap();
    tracking.read_and_clear(&mut bitmap).unwrap();
    assert_eq!(bitmap.count(), HUGE, "nothing was lost");
    let runs: Vec<_> = bitmap.runs().collect();
    assert_eq!(runs, [pages(HUGE, HUGE)]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_bitmap_that_covers_a_mapping_in_part_is_refused_before_anything_is_read() {
    let (iommufd, recorder) = Recorder::context();
    let space = Space::within(iommufd);
    let _mapped = space.map(0, 4);
    let memory = space.living.memory(2 * PAGE);
    let _long = space
        .ioas
        .map_at(page(8), &memory, Access::ReadWrite)
        .unwrap();
    let tracking = space.hwpt.track_dirty().unwrap();
    space.write([0, 3]);
    recorder.clear();
    let refusal = tracking.read_and_clear(&mut bitmap(9)).unwrap_err();
    assert!(
        matches!(refusal, Error::NotCovered { mapping, .. } if mapping == pages(8, 2)),
        "{refusal}"
    );
    assert_eq!(recorder.count(), 0);
    assert_eq!(take(&tracking), [0, 3]);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn what_a_stranger_has_unmapped_is_a_hole_that_nobody_knows_of() {
    let space = Space::new();
    let _mapped = space.map(0, 4);
    let tracking = space.hwpt.track_dirty().unwrap();
    space.write(0..4);
    let ioas = tests::ids::of(&space.ioas);
    tests::raw::unmap(&space.iommufd, ioas, page(2).get(), PAGE as u64).unwrap();
    assert_eq!(take(&tracking), [0, 1], "the kernel's walk ends there");
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn each_table_has_its_own_dirty_bits() {
    let space = Space::new();
    let _mapped = space.map(0, 4);
    let other = trackable(&space.ioas, &space.device).unwrap();
    let one = space.hwpt.track_dirty().unwrap();
    let two = other.track_dirty().unwrap();
    space.write([1]);
    tests::dirty::write_through(&other, [2]);
    let mut both = bitmap(4);
    one.read(&mut both).unwrap();
    assert_eq!(dirty(&both), [1]);
    two.read(&mut both).unwrap();
    assert_eq!(dirty(&both), [1, 2]);
    assert_eq!((take(&one), take(&two)), (vec![1], vec![2]));
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_read_whose_table_a_stranger_has_destroyed_says_what_was_not_read() {
    let space = Space::new();
    let _mapped = space.map(5, 2);
    let tracking = space.hwpt.track_dirty().unwrap();
    tests::raw::destroy(&space.iommufd, tests::ids::of(&space.hwpt)).unwrap();
    let refusal = tracking.read(&mut bitmap(10)).unwrap_err();
    assert!(refusal.to_string().contains("gone"), "{refusal}");
    match refusal {
        Error::NotRead { range, reason, .. } => {
            assert_eq!(range, pages(5, 2));
            assert_eq!(reason.errno, Errno::NOENT);
        }
        other => panic!("{other}"),
    }
    // The stop and the destroy are refused as well.
    drop(tracking);
    assert_eq!(space.iommufd.leaks().objects, 1);
}

#[test]
#[ignore = "needs the kernel's mock driver: cargo lab test"]
fn a_read_does_not_wait_for_a_map_that_takes_long() {
    let space = Space::new();
    let _mapped = space.map(0, 4);
    let tracking = space.hwpt.track_dirty().unwrap();
    // The machine can be busy with something else just then.
    let overtaken = (0..10).any(|_| {
        // A new one: the longest is to find its pages, which are there the next time. And it takes longer
        // than a machine with one thread for all processors lets one of them run.
        let large = DmaBuffer::new(512 << 20).unwrap().share();
        space.write([2]);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let map = scope.spawn(|| {
                let at = Iova::new(0x2000_0000);
                let mapping = space.ioas.map_at(at, &large, Access::ReadWrite).unwrap();
                (begun.elapsed(), mapping)
            });
            std::thread::sleep(Duration::from_millis(3));
            assert_eq!(take(&tracking), [2]);
            let read = begun.elapsed();
            // An unmap does not wait for it either.
            space.map(10, 1);
            let unmapped = begun.elapsed();
            let (mapped, mapping) = map.join().unwrap();
            mapping.unmap().unwrap();
            2 * read < mapped && unmapped < mapped
        })
    });
    assert!(overtaken, "each time the map came first");
}
