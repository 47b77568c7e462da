//! Which memory an address space holds: the record that proves when memory may be let go.
//!
//! Pages are pinned lazily, and a map can land on an IOVA before an unmap of it has returned. So
//! an entry exists before its MAP is issued, has an identity other than its IOVA, and goes when
//! the kernel has confirmed that *it* is gone, never because an address looks free.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::address::IovaRange;
use crate::file::WriteClaim;
use crate::memory::DmaMemory;

mod copy;

pub(crate) use copy::Begun;
mod reading;

pub(crate) use reading::Reading;

/// What is held for one entry, as long as the kernel may reach it. Drop it with no lock held.
///
/// Entries that are copies of one another hold the same: the kernel has one set of pages for them,
/// and lets devices write them through any, if it does through the first.
#[derive(Clone)]
#[must_use = "it is to be dropped where no lock is held"]
pub(crate) enum Held {
    /// Nothing (any more), or a foreign dma-buf: the kernel keeps it.
    Nothing,
    /// Memory of this process, which the kernel knows by its address.
    Memory(#[expect(dead_code, reason = "held, not used")] Arc<dyn DmaMemory>),
    /// Memory of this process, which the kernel knows by the memfd that it is in.
    MemoryFile(#[expect(dead_code, reason = "held, not used")] Arc<dyn DmaMemory>),
    /// A foreign memfd, whose pages the kernel keeps; claimed, if devices write it.
    File(Option<Arc<WriteClaim>>),
}

impl Held {
    /// Whether there is memory, or a claim, that must not be let go of.
    fn is_something(&self) -> bool {
        !matches!(self, Self::Nothing | Self::File(None))
    }

    /// Whether the kernel knows it by a memfd alone, so that another process can have it as well.
    fn can_move(&self) -> bool {
        matches!(self, Self::MemoryFile(_) | Self::File(_))
    }
}

/// The entries of one address space.
///
/// Exact maps and unmaps go on side by side. A range unmap is *exclusive*: it waits until none
/// are under way and keeps new ones out, as the kernel may free an IOVA of the range before it
/// returns, and nothing else may take it meanwhile. A [`Reading`] keeps both out.
#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    /// Signalled when the last exact operation or reading ends, when the exclusive one does, and
    /// when the last exact operation that had to wait goes on.
    changed: Condvar,
}

/// Names one entry. Its guard has one; [`Exclusive::touching`] makes others, for the length of an
/// exclusive operation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EntryKey(usize);

#[derive(Default)]
struct State {
    /// Whatever goes wrong, what is held is not let go of by accident: only [`Ledger::drain`] does.
    slots: ManuallyDrop<Vec<Slot>>,
    /// The first free slot.
    free: Option<usize>,
    /// Exact maps and unmaps whose ioctl is under way.
    under_way: usize,
    /// An exclusive operation runs or waits.
    exclusive: bool,
    /// Readings that go on, or wait for exact operations to end.
    readings: usize,
    /// Exact operations that wait for those.
    waiting: usize,
    /// Counts what comes and goes.
    version: u64,
}

enum Slot {
    /// The next free slot.
    Free(Option<usize>),
    /// The MAP has not answered yet; the memory is held all the same.
    Mapping(Held),
    /// The kernel has confirmed the MAP.
    Mapped { range: IovaRange, held: Held },
    /// A range unmap has emptied the entry; its guard has not noticed yet.
    Emptied,
}

/// What an unmap has to do.
pub(crate) enum Unmap {
    /// Unmap exactly this, then say so with [`Ledger::end_unmap`].
    Issue(IovaRange),
    /// A range unmap has done it already: there is nothing to ask of the kernel.
    Done,
}

impl Ledger {
    /// Records the memory of a MAP that is about to be issued.
    pub(crate) fn begin_map(&self, held: Held) -> EntryKey {
        let mut state = self.shared();
        state.under_way += 1;
        EntryKey(state.insert(Slot::Mapping(held)))
    }

    /// The kernel has mapped the entry at `range`.
    pub(crate) fn mapped(&self, key: &EntryKey, range: IovaRange) {
        let mut state = self.state.lock();
        if let Slot::Mapping(held) = state.replace(key, Slot::Emptied) {
            state.replace(key, Slot::Mapped { range, held });
        }
        self.end_shared(state);
    }

    /// The kernel has refused the MAP: what was held is free, to be dropped with no lock held.
    pub(crate) fn not_mapped(&self, key: EntryKey) -> Held {
        let mut state = self.state.lock();
        let held = state.remove(key);
        self.end_shared(state);
        held
    }

    /// Begins the exact unmap of an entry.
    pub(crate) fn begin_unmap(&self, key: &EntryKey) -> Unmap {
        let mut state = self.shared();
        match state.slots.get(key.0) {
            Some(Slot::Mapped { range, .. }) => {
                let range = *range;
                state.under_way += 1;
                Unmap::Issue(range)
            }
            _ => Unmap::Done,
        }
    }

    /// The kernel has confirmed the unmap that [`begin_unmap`](Self::begin_unmap) asked for: what
    /// was held is free, to be dropped with no lock held.
    pub(crate) fn unmapped(&self, key: EntryKey) -> Held {
        self.not_mapped(key)
    }

    /// The kernel has refused that unmap: the entry stays as it is.
    pub(crate) fn still_mapped(&self) {
        self.end_shared(self.state.lock());
    }

    /// Forgets an entry that has been emptied; another keeps what it holds.
    pub(crate) fn forget(&self, key: EntryKey) {
        let mut state = self.state.lock();
        if let Some(Slot::Emptied) = state.slots.get(key.0) {
            // An emptied entry holds nothing.
            drop(state.remove(key));
        }
    }

    /// Waits until no map or unmap is under way, and keeps new ones out.
    pub(crate) fn exclusive(&self) -> Exclusive<'_> {
        let mut state = self.state.lock();
        while state.exclusive {
            self.changed.wait(&mut state);
        }
        state.exclusive = true;
        while state.under_way > 0 || state.readings > 0 {
            self.changed.wait(&mut state);
        }
        Exclusive { ledger: self }
    }

    /// All that is still held, when the address space itself is gone or given up.
    pub(crate) fn drain(&self) -> Vec<Held> {
        let slots = {
            let mut state = self.state.lock();
            state.free = None;
            std::mem::take(&mut *state.slots)
        };
        let held = slots.into_iter().map(Slot::into_held);
        held.filter(Held::is_something).collect()
    }

    /// The first mapping, by address, that the kernel does not know by a memfd.
    pub(crate) fn first_that_cannot_move(&self) -> Option<IovaRange> {
        let state = self.state.lock();
        let stays = state.slots.iter().filter_map(|slot| match slot {
            Slot::Mapped { range, held } if !held.can_move() => Some(*range),
            _ => None,
        });
        stays.min_by_key(|range| range.start())
    }

    /// How many entries are recorded, and how many bytes are mapped.
    pub(crate) fn totals(&self) -> (usize, u64) {
        let state = self.state.lock();
        state
            .mapped_within(IovaRange::ALL)
            .fold((0, 0), |(count, bytes), (_, range)| {
                (
                    count + 1,
                    bytes.saturating_add(range.len().unwrap_or(u64::MAX)),
                )
            })
    }

    /// The state, when no exclusive operation and no reading goes on or waits.
    fn shared(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.is_closed() {
            state.waiting += 1;
            while state.is_closed() {
                self.changed.wait(&mut state);
            }
            state.waiting -= 1;
            if state.waiting == 0 {
                self.changed.notify_all();
            }
        }
        state
    }

    fn end_shared(&self, mut state: MutexGuard<'_, State>) {
        state.under_way -= 1;
        let wake = state.is_closed() && state.under_way == 0;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }
}

/// The right to unmap ranges: no exact map or unmap is under way while it lives.
pub(crate) struct Exclusive<'l> {
    ledger: &'l Ledger,
}

impl Exclusive<'_> {
    /// The mappings that touch `range`, by address.
    pub(crate) fn touching(&self, range: IovaRange) -> Vec<(EntryKey, IovaRange)> {
        let state = self.ledger.state.lock();
        let mut entries: Vec<_> = state
            .mapped_within(range)
            .map(|(index, range)| (EntryKey(index), range))
            .collect();
        entries.sort_by_key(|(_, range)| range.start());
        entries
    }

    /// The kernel has confirmed that the entry is gone: what was held is free, to be dropped when
    /// this right is. Its guard finds the entry emptied.
    pub(crate) fn emptied(&self, key: &EntryKey) -> Held {
        self.ledger
            .state
            .lock()
            .replace(key, Slot::Emptied)
            .into_held()
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.ledger.state.lock().exclusive = false;
        self.ledger.changed.notify_all();
    }
}

impl State {
    /// Whether exact operations have to wait.
    fn is_closed(&self) -> bool {
        self.exclusive || self.readings > 0
    }

    fn insert(&mut self, slot: Slot) -> usize {
        match self.free {
            Some(index) => {
                if let Some(Slot::Free(next)) = self.slots.get(index) {
                    self.free = *next;
                    self.slots[index] = slot;
                }
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    fn replace(&mut self, key: &EntryKey, slot: Slot) -> Slot {
        self.version = self.version.wrapping_add(1);
        match self.slots.get_mut(key.0) {
            Some(place) => std::mem::replace(place, slot),
            None => Slot::Emptied,
        }
    }

    fn remove(&mut self, key: EntryKey) -> Held {
        let free = Slot::Free(self.free);
        let held = self.replace(&key, free).into_held();
        self.free = Some(key.0);
        held
    }

    fn mapped_within(&self, range: IovaRange) -> impl Iterator<Item = (usize, IovaRange)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(move |(index, slot)| match slot {
                Slot::Mapped { range: mapped, .. } if mapped.overlaps(range) => {
                    Some((index, *mapped))
                }
                _ => None,
            })
    }
}

impl Slot {
    fn into_held(self) -> Held {
        match self {
            Self::Mapping(held) | Self::Mapped { held, .. } => held,
            Self::Free(_) | Self::Emptied => Held::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::address::Iova;
    use crate::buffer::DmaBuffer;

    fn memory() -> Arc<dyn DmaMemory> {
        DmaBuffer::new(4096).unwrap().share()
    }

    fn page(number: u64) -> IovaRange {
        IovaRange::with_len(Iova::new(number * 4096), 4096).unwrap()
    }

    fn map(ledger: &Ledger, memory: &Arc<dyn DmaMemory>, range: IovaRange) -> EntryKey {
        let key = ledger.begin_map(Held::Memory(Arc::clone(memory)));
        ledger.mapped(&key, range);
        key
    }

    #[test]
    fn memory_is_held_from_before_the_map_until_the_unmap_is_confirmed() {
        let (ledger, memory) = (Ledger::default(), memory());
        let key = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
        assert_eq!(Arc::strong_count(&memory), 2);
        ledger.mapped(&key, page(1));
        assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(range) if range == page(1)));
        ledger.still_mapped();
        assert_eq!(Arc::strong_count(&memory), 2);
        assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(_)));
        drop(ledger.unmapped(key));
        assert_eq!(Arc::strong_count(&memory), 1);
        assert_eq!(ledger.totals(), (0, 0));
    }

    #[test]
    fn a_refused_map_holds_nothing() {
        let (ledger, memory) = (Ledger::default(), memory());
        let key = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
        drop(ledger.not_mapped(key));
        assert_eq!(Arc::strong_count(&memory), 1);
        assert!(ledger.drain().is_empty());
    }

    #[test]
    fn places_are_used_again_and_never_twice() {
        let (ledger, memory) = (Ledger::default(), memory());
        let keys: Vec<_> = (0..4).map(|n| map(&ledger, &memory, page(n))).collect();
        for key in keys {
            assert!(matches!(ledger.begin_unmap(&key), Unmap::Issue(_)));
            drop(ledger.unmapped(key));
        }
        let again: Vec<_> = (0..5).map(|n| map(&ledger, &memory, page(n))).collect();
        let mut indexes: Vec<_> = again.iter().map(|key| key.0).collect();
        indexes.sort_unstable();
        assert_eq!(indexes, [0, 1, 2, 3, 4]);
        assert_eq!(ledger.totals(), (5, 5 * 4096));
    }

    #[test]
    fn a_range_unmap_empties_entries_and_their_guards_ask_for_nothing() {
        let (ledger, memory) = (Ledger::default(), memory());
        let inside = map(&ledger, &memory, page(1));
        let outside = map(&ledger, &memory, page(9));
        let exclusive = ledger.exclusive();
        let touching = exclusive.touching(page(1));
        assert_eq!(touching.len(), 1);
        let released = exclusive.emptied(&touching[0].0);
        drop(exclusive);
        drop(released);
        assert_eq!(Arc::strong_count(&memory), 2);
        assert!(matches!(ledger.begin_unmap(&inside), Unmap::Done));
        ledger.forget(inside);
        assert!(matches!(ledger.begin_unmap(&outside), Unmap::Issue(_)));
    }

    #[test]
    fn an_exclusive_operation_waits_and_keeps_others_waiting() {
        let (ledger, memory) = (Ledger::default(), memory());
        let under_way = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
        let (tell, told) = mpsc::channel();
        let soon = Duration::from_millis(50);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let exclusive = ledger.exclusive();
                tell.send("exclusive").unwrap();
                std::thread::sleep(soon);
                drop(exclusive);
            });
            assert!(told.recv_timeout(soon).is_err());
            // Waiting for the map that is under way, it keeps a new one out already.
            threads.spawn(|| {
                map(&ledger, &memory, page(2));
                tell.send("map").unwrap();
            });
            assert!(told.recv_timeout(soon).is_err());
            ledger.mapped(&under_way, page(1));
            assert_eq!(told.recv().unwrap(), "exclusive");
            assert_eq!(told.recv().unwrap(), "map");
        });
    }
}
