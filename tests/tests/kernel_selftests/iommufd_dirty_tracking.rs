//! Fixture `iommufd_dirty_tracking`: memory of each size, and a device behind a page table that records what it writes.

#![expect(non_snake_case, reason = "the kernel's names of the variants")]

mod bitmaps;
mod capability;
mod enabling;
mod holes;
mod reading;
mod record;

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use iommufd::{
    Access, Attachment, DirtyBitmap, DirtyTracking, DmaBuffer, DmaSlice, HugePage, HwPt, IovaRange,
    Mapping, SharedBuffer,
};
use tests::at::{PAGE, page};
use tests::dirty::{Space, granule};
use tests::{ids, mock};

use crate::part::part;

use capability::{device_dirty_capability, enforce_dirty};
use enabling::{pasid_set_dirty_tracking, set_dirty_tracking};
use reading::{get_dirty_bitmap, get_dirty_bitmap_no_clear};
use record::PATTERNS;

// In the kernel's order.
per_variant! {
    Fixture [
        domain_dirty8k,
        domain_dirty16k,
        domain_dirty64k,
        domain_dirty128k,
        domain_dirty320k,
        domain_dirty64M,
        domain_dirty64M_huge,
        domain_dirty128M,
        domain_dirty128M_huge,
    ]:
    enforce_dirty,
    set_dirty_tracking,
    pasid_set_dirty_tracking,
    device_dirty_capability,
    get_dirty_bitmap,
    get_dirty_bitmap_no_clear,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Memory that is mapped, and a device that is attached to a page table that can be tracked.
#[derive(Debug)]
struct Fixture {
    /// Of all the memory but its beginning.
    mapping: Mapping,
    attachment: Attachment,
    memory: Arc<SharedBuffer>,
    space: Space,
    kind: Kind,
}

/// A kind of memory.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// The bytes in a page of it.
    page: usize,
    /// The bytes in an entry of the page table.
    ///
    /// Where addresses and memory allow it, entries are large, and memory may be in one piece by chance. So what is mapped
    /// begins in the middle of a page of memory, at an address that is a multiple of much more: no entry is larger than
    /// half a page then.
    entry: u64,
}

impl Fixture {
    // A bit for 2048 bytes: half a byte of bits, ...
    fn domain_dirty8k() -> Self {
        Self::small(8 * KIB)
    }

    // ... a byte, ...
    fn domain_dirty16k() -> Self {
        Self::small(16 * KIB)
    }

    // ... half a word, ...
    fn domain_dirty64k() -> Self {
        Self::small(64 * KIB)
    }

    // ... a word, ...
    fn domain_dirty128k() -> Self {
        Self::small(128 * KIB)
    }

    // ... two words and a half, ...
    fn domain_dirty320k() -> Self {
        Self::small(320 * KIB)
    }

    // ... a page, ...
    fn domain_dirty64M() -> Self {
        Self::small(64 * MIB)
    }

    fn domain_dirty64M_huge() -> Self {
        Self::huge(64 * MIB)
    }

    // ... and two pages.
    fn domain_dirty128M() -> Self {
        Self::small(128 * MIB)
    }

    fn domain_dirty128M_huge() -> Self {
        Self::huge(128 * MIB)
    }

    fn small(len: usize) -> Self {
        let kind = Kind {
            page: PAGE,
            entry: mock::PAGE,
        };
        Self::new(len, kind, DmaBuffer::new(len + PAGE).unwrap())
    }

    fn huge(len: usize) -> Self {
        const HUGE: usize = 2 * MIB;
        let kind = Kind {
            page: HUGE,
            entry: MIB as u64,
        };
        let buffer = DmaBuffer::huge(len + HUGE, HugePage::Size2M);
        Self::new(len, kind, buffer.unwrap())
    }

    fn new(len: usize, kind: Kind, buffer: DmaBuffer) -> Self {
        let space = Space::new();
        let memory = buffer.share();
        let entry = kind.entry as usize;
        let slice = DmaSlice::new(&memory, entry..entry + len).unwrap();
        let mapping = space.ioas.map_at(page(0), slice, Access::ReadWrite);
        Self {
            mapping: mapping.unwrap(),
            attachment: space.device.attach(&space.hwpt).unwrap(),
            memory,
            space,
            kind,
        }
    }

    /// The bytes that are mapped.
    fn len(&self) -> usize {
        self.memory.len() - self.kind.page
    }

    /// How many entries of the page table there are.
    fn count(&self) -> u64 {
        self.mapping.len() / self.kind.entry
    }

    /// Where the memory is in the process.
    fn bytes(&self) -> NonNull<[u8]> {
        let entry = self.kind.entry as usize;
        part(&*self.memory, entry..entry + self.len())
    }

    /// Those of `places` that are tried with pattern number `n`: all, or, where there are so many entries that it takes long,
    /// each with one pattern.
    fn in_turn<'p, P>(&self, n: usize, places: &'p [P]) -> impl Iterator<Item = &'p P> {
        let every = if self.count() > 1000 { PATTERNS } else { 1 };
        places.iter().skip(n % every).step_by(every)
    }

    /// The addresses of a run of entries.
    fn address(&self, run: &Range<u64>) -> IovaRange {
        let entry = self.kind.entry;
        let start = self.mapping.iova().checked_add(run.start * entry);
        IovaRange::with_len(start.unwrap(), (run.end - run.start) * entry).unwrap()
    }

    /// The addresses of runs of entries.
    fn addresses(&self, entries: &[Range<u64>]) -> Vec<IovaRange> {
        entries.iter().map(|run| self.address(run)).collect()
    }

    /// A device writes to these entries, to 2048 bytes somewhere in each.
    fn write(&self, entries: &[Range<u64>]) {
        self.write_through(&self.space.hwpt, entries);
    }

    /// The same, through another table.
    fn write_through(&self, table: &HwPt, entries: &[Range<u64>]) {
        let parts = self.kind.entry / mock::PAGE;
        let mut words = vec![0_u64; (self.mapping.len() / mock::PAGE).div_ceil(64) as usize];
        let mut count = 0;
        for entry in entries.iter().cloned().flatten() {
            let part = entry * parts + entry % parts;
            words[(part / 64) as usize] |= 1 << (part % 64);
            count += 1;
        }
        let range = (self.mapping.iova().get(), self.mapping.len());
        let (fd, hwpt) = (&self.space.iommufd, ids::of(table));
        let written = mock::set_dirty(fd, hwpt, range, mock::PAGE, &words);
        assert_eq!(written, Ok(count));
    }

    /// The entries that are dirty now; they are clean after.
    fn take(&self, tracking: &DirtyTracking) -> Vec<Range<u64>> {
        let mut bitmap = self.bitmap();
        tracking.read_and_clear(&mut bitmap).unwrap();
        self.entries(&bitmap)
    }

    /// The entries that are dirty now.
    fn look(&self, tracking: &DirtyTracking) -> Vec<Range<u64>> {
        let mut bitmap = self.bitmap();
        tracking.read(&mut bitmap).unwrap();
        self.entries(&bitmap)
    }

    /// A bit for each entry.
    fn bitmap(&self) -> DirtyBitmap {
        DirtyBitmap::new(self.mapping.range(), granule(self.kind.entry)).unwrap()
    }

    /// The entries that are dirty in such a bitmap.
    fn entries(&self, bitmap: &DirtyBitmap) -> Vec<Range<u64>> {
        let number = |iova: u64| (iova - self.mapping.iova().get()) / self.kind.entry;
        let runs = bitmap.runs();
        runs.map(|run| number(run.start().get())..number(run.last().get()) + 1)
            .collect()
    }
}
