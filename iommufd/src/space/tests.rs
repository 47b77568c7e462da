//! A space over a kernel that is played: it says what it is asked, and answers as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::buffer::DmaBuffer;
use crate::dirty::DirtyBitmap;
use crate::memory::DmaMemory;

const PAGE: u64 = 4096;

/// Everything that is mapped, and the next refusals.
#[derive(Debug)]
struct Played {
    watch: Watch,
    mapped: Mutex<Vec<IovaRange>>,
    refusals: Mutex<Vec<Errno>>,
    /// A map that gets its answer only when this is taken away.
    gate: Mutex<Option<IovaRange>>,
    /// How many maps were refused, as something is mapped there.
    collisions: AtomicU32,
}

impl Played {
    fn answer(&self) -> Result<(), KernelError> {
        match self.refusals.lock().pop() {
            Some(errno) => Err(KernelError::new("PLAYED", errno, "told to")),
            None => Ok(()),
        }
    }
}

// SAFETY: nothing is mapped anywhere.
unsafe impl SpaceDriver for Played {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    unsafe fn map(
        &self,
        range: IovaRange,
        _: u64,
        _: Access,
        _: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        self.answer()?;
        let mut mapped = self.mapped.lock();
        if mapped.iter().any(|other| other.overlaps(range)) {
            self.collisions.fetch_add(1, Ordering::Relaxed);
            return Err(KernelError::new("PLAYED", Errno::EXIST, "it overlaps"));
        }
        mapped.push(range);
        drop(mapped);
        while *self.gate.lock() == Some(range) {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn unmap(&self, range: IovaRange, _: &mut Notices<'_>) -> Result<u64, KernelError> {
        self.answer()?;
        let mut mapped = self.mapped.lock();
        let bytes = mapped.iter().filter(|other| range.contains(**other));
        let bytes = bytes.filter_map(|other| other.len()).sum();
        mapped.retain(|other| !range.contains(*other));
        Ok(bytes)
    }

    fn read_dirty(
        &self,
        _: IovaRange,
        _: Granule,
        words: &mut [u64],
        _: &mut Notices<'_>,
    ) -> Result<(), KernelError> {
        self.answer()?;
        words[0] = 1;
        Ok(())
    }

    fn unmap_reading_dirty(
        &self,
        range: IovaRange,
        page: Granule,
        words: &mut [u64],
        notices: &mut Notices<'_>,
    ) -> Result<u64, KernelError> {
        self.read_dirty(range, page, words, notices)?;
        self.unmap(range, notices)
    }
}

fn space() -> (Space, Arc<Played>) {
    let played = Arc::new(Played {
        watch: Watch::new(None),
        mapped: Mutex::default(),
        refusals: Mutex::default(),
        gate: Mutex::default(),
        collisions: AtomicU32::new(0),
    });
    // SAFETY: nothing is mapped anywhere.
    let space = unsafe { Space::new(Arc::clone(&played) as Arc<dyn SpaceDriver>) };
    (space, played)
}

fn memory() -> Arc<dyn DmaMemory> {
    DmaBuffer::new(PAGE as usize).unwrap().share()
}

fn page(number: u64) -> Iova {
    Iova::new(number * PAGE)
}

fn pages(first: u64, count: u64) -> IovaRange {
    IovaRange::with_len(page(first), count * PAGE).unwrap()
}

#[test]
fn memory_is_held_until_the_kernel_has_confirmed_the_unmap() {
    let (space, played) = space();
    let memory = memory();
    let mapping = space.map_at(page(1), &memory, Access::Read).unwrap();
    assert_eq!(Arc::strong_count(&memory), 2);
    played.refusals.lock().push(Errno::BUSY);
    let mapping = mapping.unmap().unwrap_err().into_value();
    assert_eq!(Arc::strong_count(&memory), 2);
    // Nobody has the guard; the space still has the memory.
    let _forgotten = ManuallyDrop::new(mapping);
    assert_eq!(space.mapped().mappings, 1);
    assert_eq!(space.unmap_all().unwrap(), PAGE);
    assert_eq!(Arc::strong_count(&memory), 1);
}

#[test]
fn a_map_that_is_refused_holds_nothing() {
    let (space, played) = space();
    let memory = memory();
    for errno in [Errno::NOMEM, Errno::FAULT, Errno::EXIST, Errno::NOSPC] {
        played.refusals.lock().push(errno);
        let error = space.map_at(page(1), &memory, Access::Write).unwrap_err();
        assert_eq!(error.errno(), Some(errno));
        assert_eq!(Arc::strong_count(&memory), 1);
    }
    let error = space.map_at(Iova::new(u64::MAX - 4094), &memory, Access::Read);
    assert_eq!(error.unwrap_err().errno(), Some(Errno::OVERFLOW));
}

#[test]
fn a_drop_that_is_refused_is_counted_and_what_is_left_is_kept_for_good() {
    let (space, played) = space();
    let memory = memory();
    let mapping = space.map_at(page(1), &memory, Access::Read).unwrap();
    played.refusals.lock().push(Errno::BUSY);
    drop(mapping);
    assert_eq!(played.watch.leaks().mappings, 1);
    drop(space);
    assert_eq!(played.watch.leaks().memories, 1);
    assert_eq!(Arc::strong_count(&memory), 2);
}

#[test]
fn ranges_are_unmapped_whole_or_not_at_all() {
    let (space, played) = space();
    let memory = memory();
    let _guards: Vec<_> = (1..4)
        .map(|number| space.map_at(page(number), &memory, Access::Read).unwrap())
        .collect();
    let half = IovaRange::with_len(page(1), PAGE / 2).unwrap();
    assert!(matches!(
        space.unmap_range(half),
        Err(Error::PartlyCovered { .. })
    ));
    assert!(matches!(
        space.unmap_range(pages(9, 1)),
        Err(Error::NothingMapped { .. })
    ));
    // The range, and then the first of two by itself.
    played.refusals.lock().extend([Errno::BUSY, Errno::BUSY]);
    let error = space.unmap_range(pages(1, 2)).unwrap_err();
    assert!(
        matches!(error, Error::PartlyUnmapped { unmapped: PAGE, remaining: 1, first, .. } if first == page(1)),
        "{error}"
    );
    assert_eq!(space.mapped().mappings, 2);
    assert_eq!(space.unmap_all().unwrap(), 2 * PAGE);
    assert_eq!(Arc::strong_count(&memory), 1);
}

#[test]
fn what_the_kernel_unmaps_by_itself_is_let_go_and_guards_find_it_done() {
    let (space, played) = space();
    let memory = memory();
    let stale = space.map_at(page(1), &memory, Access::Read).unwrap();
    let leave = |_: &mut Notices<'_>| {
        played.mapped.lock().clear();
        ((), Emptied::Yes)
    };
    // SAFETY: nothing is mapped anywhere.
    unsafe { space.exclusively(leave) }.unwrap();
    assert_eq!(Arc::strong_count(&memory), 1);
    let successor = space.map_at(page(1), &memory, Access::Read).unwrap();
    stale.unmap().unwrap();
    assert_eq!(*played.mapped.lock(), [pages(1, 1)], "the successor stays");
    successor.unmap().unwrap();
    assert!(played.mapped.lock().is_empty());
}

#[test]
fn what_the_kernel_unmaps_unnoticed_takes_nothing_of_what_comes_after() {
    let (space, played) = space();
    let memory = memory();
    let stale = space.map_at(page(1), &memory, Access::Read).unwrap();
    played.mapped.lock().clear();
    let successor = space.map_at(page(1), &memory, Access::Read).unwrap();
    assert_eq!(Arc::strong_count(&memory), 3);
    stale.unmap().unwrap();
    assert_eq!(*played.mapped.lock(), [pages(1, 1)]);
    assert_eq!(Arc::strong_count(&memory), 2);
    successor.unmap().unwrap();
    assert!(played.mapped.lock().is_empty());
}

#[test]
fn places_are_found_beside_what_is_mapped() {
    let (space, played) = space();
    let memory = memory();
    // Somebody maps there at the same time.
    played.mapped.lock().push(pages(1, 1));
    let usable = [pages(0, 4)];
    let map = || space.map(&memory, &usable, PAGE, Access::Read);
    let (one, two) = (map().unwrap(), map().unwrap());
    assert_eq!((one.range(), two.range()), (pages(2, 1), pages(3, 1)));
    assert_eq!(map().unwrap_err().errno(), Some(Errno::NOSPC));
    drop(one);
    assert_eq!(map().unwrap().range(), pages(2, 1));
}

#[test]
fn what_is_under_way_is_in_nobodys_way() {
    let (space, played) = space();
    let usable = [pages(0, 2048)];
    let memory = memory();
    let map = || space.map(&memory, &usable, PAGE, Access::Read);
    // A large one, of which the answer has not come yet, and then what is mapped beside it.
    let large: Arc<dyn DmaMemory> = DmaBuffer::new(1024 * PAGE as usize).unwrap().share();
    *played.gate.lock() = Some(pages(0, 1024));
    std::thread::scope(|scope| {
        let under_way = scope.spawn(|| space.map_at(page(0), &large, Access::Read).unwrap());
        while played.mapped.lock().is_empty() {
            std::thread::yield_now();
        }
        let beside = map();
        *played.gate.lock() = None;
        assert!(beside.unwrap().range().start() >= page(1024));
        assert_eq!(under_way.join().unwrap().range(), pages(0, 1024));
    });
    // Many at once, none of which knows of the others.
    let threads = 8;
    let together = std::sync::Barrier::new(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                together.wait();
                let guards: Vec<_> = (0..100).map(|_| map().unwrap()).collect();
                assert_eq!(guards.len(), 100);
            });
        }
    });
    assert!(played.mapped.lock().is_empty());
    assert_eq!(played.collisions.load(Ordering::Relaxed), 0);
}

#[test]
fn dirty_bits_come_by_mapping_and_with_the_unmap() {
    let (space, played) = space();
    let memory = memory();
    let guards: Vec<_> = [1, 3]
        .map(|number| {
            space
                .map_at(page(number), &memory, Access::ReadWrite)
                .unwrap()
        })
        .into();
    let mut bitmap = DirtyBitmap::new(pages(0, 4), Granule::KIB_4).unwrap();
    space.read_dirty(Granule::KIB_4, &mut bitmap).unwrap();
    assert_eq!(bitmap.words(), [0b1010]);
    bitmap.clear();
    let mut narrow = DirtyBitmap::new(pages(0, 1), Granule::KIB_4).unwrap();
    let [one, two] = <[_; 2]>::try_from(guards).unwrap();
    let refused = one.unmap_reading_dirty(Granule::KIB_4, &mut narrow);
    let refused = refused.unwrap_err();
    assert!(matches!(refused.error(), Error::NotCovered { .. }));
    let one = refused.into_value();
    played.refusals.lock().push(Errno::FAULT);
    let refused = one.unmap_reading_dirty(Granule::KIB_4, &mut bitmap);
    let one = refused.unwrap_err().into_value();
    one.unmap_reading_dirty(Granule::KIB_4, &mut bitmap)
        .unwrap();
    assert_eq!(bitmap.words(), [0b0010]);
    let bytes = space.unmap_range_reading_dirty(pages(0, 4), Granule::KIB_4, &mut bitmap);
    assert_eq!((bytes.unwrap(), bitmap.words()), (PAGE, &[0b1010][..]));
    two.unmap().unwrap();
    assert_eq!(Arc::strong_count(&memory), 1);
}
