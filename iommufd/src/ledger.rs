//! Which memory an address space holds: the record that proves when memory may be let go.
//!
//! Pages are pinned lazily, and a map can land on an IOVA before an unmap of it has returned. So
//! an entry exists before its MAP is issued, has an identity other than its IOVA, and goes when
//! the kernel has confirmed that *it* is gone, never because an address looks free.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::address::{Iova, IovaRange};
use crate::file::WriteClaim;
use crate::memory::DmaMemory;

mod copy;
mod overlap;
mod read_only;
mod reading;
#[cfg(test)]
mod tests;

pub(crate) use copy::Begun;
use overlap::Overlaps;
use read_only::ReadOnly;
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
    /// All of these, of which it is not known which the kernel has.
    Several(Arc<[Held]>),
}

impl Held {
    /// Whether there is memory, or a claim, that must not be let go of.
    fn is_something(&self) -> bool {
        match self {
            Self::Nothing | Self::File(None) => false,
            Self::Memory(_) | Self::MemoryFile(_) | Self::File(Some(_)) => true,
            Self::Several(all) => all.iter().any(Self::is_something),
        }
    }

    /// Whether the kernel knows it by a memfd alone, so that another process can have it as well.
    fn can_move(&self) -> bool {
        match self {
            Self::MemoryFile(_) | Self::File(_) => true,
            Self::Nothing | Self::Memory(_) => false,
            Self::Several(all) => all.iter().all(Self::can_move),
        }
    }

    /// Keeps one more of it for good, if it is something; says how many that is.
    fn keep_for_good(&self) -> usize {
        // Leaked on purpose: the caller counts it.
        let kept = ManuallyDrop::new(self.clone());
        usize::from(kept.is_something())
    }
}

/// The entries of one address space.
///
/// Exact maps and unmaps go on side by side. A range unmap is *exclusive*: it waits until none
/// are under way and keeps new ones out, as the kernel may free an IOVA of the range before it
/// returns, and nothing else may take it meanwhile. A [`Reading`] keeps all unmaps out.
///
/// The kernel never maps two things in one place. Entries overlap if somebody else has unmapped the
/// one, such as the program to which the address space is a VFIO container, and the other was then
/// mapped there. The entry that is stale stays until its guard is unmapped, as long as it cannot be
/// shown that the kernel has nothing of it left.
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
    /// Whether entries overlap.
    overlaps: Overlaps,
    /// Which entries devices may only read, and whether any may.
    read_only: ReadOnly,
    /// Whether somebody else may unmap what is mapped here.
    has_strangers: bool,
    /// Entries whose MAP got no answer.
    unanswered: usize,
    /// Exact maps whose ioctl is under way, and copies of what is mapped here.
    maps: usize,
    /// Exact unmaps whose ioctl is under way.
    unmaps: usize,
    /// An exclusive operation runs or waits.
    exclusive: bool,
    /// Readings that go on, or wait for exact unmaps to end.
    readings: usize,
    /// Exact operations that wait for those.
    waiting: usize,
    /// Copies of what is mapped here that are under way, and when the last one ended.
    copying: usize,
    copied: u64,
    /// Counts what comes and goes.
    version: u64,
    /// Counts what goes.
    gone: u64,
}

enum Slot {
    /// The next free slot.
    Free(Option<usize>),
    /// The MAP has not answered yet; the memory is held all the same.
    Mapping {
        held: Held,
        /// The version before it was issued.
        begun: u64,
    },
    /// The kernel has confirmed the MAP.
    Mapped {
        range: IovaRange,
        held: Held,
        spell: Spell,
    },
    /// The kernel has answered the MAP in a way that says nothing: it may have mapped the memory,
    /// at `range` if that was not its own choice. There is no guard.
    Unanswered {
        range: Option<IovaRange>,
        held: Held,
        spell: Spell,
    },
    /// A range unmap has emptied the entry; its guard has not noticed yet.
    Emptied,
}

/// When a MAP was under way: the version before it was issued, and that after its answer was
/// recorded.
#[derive(Clone, Copy)]
struct Spell {
    begun: u64,
    ended: u64,
}

impl Spell {
    /// Whether it began when `other` had ended.
    fn came_after(self, other: Self) -> bool {
        self.begun >= other.ended
    }
}

/// What an exact operation does: the two are kept out by different things.
#[derive(Clone, Copy)]
enum Exact {
    Map,
    Unmap,
}

/// What an unmap has to do.
pub(crate) enum Unmap {
    /// Unmap exactly this, then say so with [`Ledger::unmapped`] or [`Ledger::still_mapped`].
    Issue(IovaRange),
    /// The same, but others are recorded there as well: end it with [`Ledger::still_mapped`], and
    /// find out exclusively what of it is still there.
    FindOut(IovaRange),
    /// A range unmap has done it already: there is nothing to ask of the kernel.
    Done,
}

impl Ledger {
    /// Records the memory of a MAP that is about to be issued: memory that devices may write, or of
    /// which nobody ever asks whether they may.
    #[inline]
    pub(crate) fn begin_map(&self, held: Held) -> EntryKey {
        let mut state = self.begin(Exact::Map);
        state.insert_mapping(held)
    }

    /// From now on somebody else may unmap what is mapped here.
    pub(crate) fn expect_strangers(&self) {
        self.state.lock().has_strangers = true;
    }

    /// The kernel has mapped the entry at `range`. Returns how many memories are kept for good:
    /// they may have been copied as what was mapped there before. Without strangers that cannot be:
    /// the entry that is still there is one whose unmap has been answered, and not been recorded.
    #[inline]
    pub(crate) fn mapped(&self, key: &EntryKey, range: IovaRange) -> usize {
        let mut state = self.state.lock();
        let kept = match state.answered(key, range) {
            Some(begun) if state.has_strangers => state.kept_of_copied(key, begun, range),
            _ => 0,
        };
        self.end(state, Exact::Map);
        kept
    }

    /// The kernel has refused the MAP: what was held is free, to be dropped with no lock held.
    pub(crate) fn not_mapped(&self, key: EntryKey) -> Held {
        let mut state = self.state.lock();
        let held = state.remove(key);
        self.end(state, Exact::Map);
        held
    }

    /// The kernel may have mapped the entry, at `range` if that was not its own choice. Returns how
    /// many memories are kept for good, as [`mapped`](Self::mapped) does.
    pub(crate) fn unanswered(&self, key: &EntryKey, range: Option<IovaRange>) -> usize {
        let mut state = self.state.lock();
        let mut kept = 0;
        if let Slot::Mapping { held, begun } = state.replace(key, Slot::Emptied) {
            if state.copied_since(begun) {
                kept = held.keep_for_good();
            }
            let spell = state.spell_since(begun);
            state.replace(key, Slot::Unanswered { range, held, spell });
        }
        self.end(state, Exact::Map);
        kept
    }

    /// Begins the exact unmap of an entry.
    #[inline]
    pub(crate) fn begin_unmap(&self, key: &EntryKey) -> Unmap {
        let state = self.begin(Exact::Unmap);
        match state.slots.get(key.0) {
            Some(&Slot::Mapped { range, .. }) => match state.is_alone(key, range) {
                true => Unmap::Issue(range),
                false => Unmap::FindOut(range),
            },
            _ => {
                self.end(state, Exact::Unmap);
                Unmap::Done
            }
        }
    }

    /// The kernel has confirmed the unmap that [`begin_unmap`](Self::begin_unmap) asked for: what
    /// was held is free, to be dropped with no lock held.
    #[inline]
    pub(crate) fn unmapped(&self, key: EntryKey) -> Held {
        let mut state = self.state.lock();
        let held = state.remove(key);
        self.end(state, Exact::Unmap);
        held
    }

    /// The kernel has refused that unmap: the entry stays as it is.
    pub(crate) fn still_mapped(&self) {
        self.end(self.state.lock(), Exact::Unmap);
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
    ///
    /// Who waits already goes first, once: else one range unmap after another would keep them out
    /// for ever.
    pub(crate) fn exclusive(&self) -> Exclusive<'_> {
        let mut state = self.state.lock();
        let mut yielded = false;
        while state.exclusive || (state.waiting > 0 && !yielded) {
            yielded |= !state.exclusive;
            self.changed.wait(&mut state);
        }
        state.exclusive = true;
        while state.maps > 0 || state.unmaps > 0 || state.readings > 0 {
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
            Slot::Mapped { range, held, .. } if !held.can_move() => Some(*range),
            _ => None,
        });
        stays.min_by_key(|range| range.start())
    }

    /// Lets `look` see what is mapped from `from` on, in the order of its addresses, as ranges that do
    /// not overlap.
    pub(crate) fn in_order<R>(
        &self,
        from: Iova,
        look: impl FnOnce(&mut dyn Iterator<Item = IovaRange>) -> R,
    ) -> R {
        let state = self.state.lock();
        match state.overlaps.in_order(from) {
            Some(mut ranges) => look(&mut ranges),
            None => {
                let mapped = state.mapped_within(IovaRange::ALL);
                let ranges = overlap::apart(mapped.map(|(_, range)| range).collect());
                let behind = |range: &IovaRange| range.last() >= from;
                look(&mut ranges.into_iter().filter(behind))
            }
        }
    }

    /// Another number after any entry has gone.
    pub(crate) fn gone(&self) -> u64 {
        self.state.lock().gone
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

    /// Begins an exact operation, when nothing that keeps it out goes on or waits.
    #[inline]
    fn begin(&self, exact: Exact) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.is_closed_to(exact) {
            self.wait_for(&mut state, exact);
        }
        *state.under_way(exact) += 1;
        state
    }

    /// Waits until nothing keeps such operations out.
    #[cold]
    fn wait_for(&self, state: &mut MutexGuard<'_, State>, exact: Exact) {
        state.waiting += 1;
        while state.is_closed_to(exact) {
            self.changed.wait(state);
        }
        state.waiting -= 1;
        if state.waiting == 0 {
            self.changed.notify_all();
        }
    }

    #[inline]
    fn end(&self, mut state: MutexGuard<'_, State>, exact: Exact) {
        let left = state.under_way(exact);
        *left -= 1;
        let wake = *left == 0 && state.is_closed_to(Exact::Unmap);
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

    /// Where the kernel can still have something of an entry: at all of its range, but where
    /// another was mapped after it.
    pub(crate) fn left_of(&self, key: &EntryKey) -> Vec<IovaRange> {
        let state = self.ledger.state.lock();
        let (range, spell) = match state.slots.get(key.0) {
            Some(&Slot::Mapped { range, spell, .. }) => (range, spell),
            Some(&Slot::Unanswered {
                range: Some(range),
                spell,
                ..
            }) => (range, spell),
            _ => return Vec::new(),
        };
        let after = state
            .others_over(key, range)
            .filter(|(_, other)| other.came_after(spell));
        after.fold(vec![range], |left, (taken, _)| {
            left.iter().flat_map(|part| part.without(taken)).collect()
        })
    }

    /// Whether another MAP, of which an unmap might be, was under way at the same time as that of
    /// an entry.
    pub(crate) fn is_disputed(&self, key: &EntryKey) -> bool {
        let state = self.ledger.state.lock();
        let Some(&Slot::Unanswered {
            range: Some(range),
            spell,
            ..
        }) = state.slots.get(key.0)
        else {
            return false;
        };
        let mut others = state.others_over(key, range);
        others.any(|(_, other)| !other.came_after(spell) && !spell.came_after(other))
    }

    /// The kernel has nothing left in `range`: what was held for entries whose MAP got no answer, and
    /// that can only be there, is free, to be dropped when this right is.
    pub(crate) fn nothing_left_in(&self, range: IovaRange) -> Vec<Held> {
        let mut state = self.ledger.state.lock();
        let within = |(index, slot): (usize, &Slot)| match slot {
            Slot::Unanswered { range: place, .. } => {
                let only_there = range.contains(place.unwrap_or(IovaRange::ALL));
                only_there.then_some((EntryKey(index), place.is_some()))
            }
            _ => None,
        };
        let entries: Vec<_> = state.slots.iter().enumerate().filter_map(within).collect();
        let free = entries.into_iter().map(|(key, has_place)| {
            if has_place {
                // Somebody may be about to find out what is there, and to forget the entry then.
                state.replace(&key, Slot::Emptied).into_held()
            } else {
                state.remove(key)
            }
        });
        free.collect()
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.ledger.state.lock().exclusive = false;
        self.ledger.changed.notify_all();
    }
}

impl State {
    /// Whether such operations have to wait.
    #[inline]
    fn is_closed_to(&self, exact: Exact) -> bool {
        match exact {
            Exact::Map => self.exclusive,
            Exact::Unmap => self.exclusive || self.readings > 0,
        }
    }

    #[inline]
    fn under_way(&mut self, exact: Exact) -> &mut usize {
        match exact {
            Exact::Map => &mut self.maps,
            Exact::Unmap => &mut self.unmaps,
        }
    }

    /// The kernel has confirmed the MAP of an entry. Says at which version it was begun; `None` if
    /// there is no such MAP.
    #[inline]
    fn answered(&mut self, key: &EntryKey, range: IovaRange) -> Option<u64> {
        let slot = self.slots.get_mut(key.0)?;
        let &mut Slot::Mapping { begun, .. } = slot else {
            return None;
        };
        self.version = self.version.wrapping_add(1);
        let spell = Spell {
            begun,
            ended: self.version,
        };
        let held = std::mem::replace(slot, Slot::Emptied).into_held();
        *slot = Slot::Mapped { range, held, spell };
        self.overlaps.added(range);
        Some(begun)
    }

    /// Keeps for good what a copy may have been made of that was meant for what was mapped in its
    /// place before; says how many memories that are.
    #[cold]
    fn kept_of_copied(&self, key: &EntryKey, begun: u64, range: IovaRange) -> usize {
        match self.slots.get(key.0) {
            Some(Slot::Mapped { held, .. })
                if self.copied_since(begun) && !self.is_alone(key, range) =>
            {
                held.keep_for_good()
            }
            _ => 0,
        }
    }

    #[inline]
    fn insert_mapping(&mut self, held: Held) -> EntryKey {
        let begun = self.version;
        let index = self.insert(Slot::Mapping { held, begun });
        self.forget_read_only(index);
        EntryKey(index)
    }

    /// From `begun` until now, when what has ended has been counted.
    fn spell_since(&self, begun: u64) -> Spell {
        Spell {
            begun,
            ended: self.version,
        }
    }

    /// Whether anything that is mapped here was copied, or is, since the version was `begun`.
    fn copied_since(&self, begun: u64) -> bool {
        self.copying > 0 || self.copied > begun
    }

    /// Whether no other mapping is recorded over the `range` of an entry.
    #[inline]
    fn is_alone(&self, key: &EntryKey, range: IovaRange) -> bool {
        !self.overlaps.found() || self.others_over(key, range).next().is_none()
    }

    /// The other mappings that are recorded over the `range` of an entry.
    fn others_over(
        &self,
        key: &EntryKey,
        range: IovaRange,
    ) -> impl Iterator<Item = (IovaRange, Spell)> {
        let others = self.slots.iter().enumerate();
        others.filter_map(move |(index, slot)| match slot {
            &Slot::Mapped {
                range: other,
                spell,
                ..
            } if index != key.0 && other.overlaps(range) => Some((other, spell)),
            _ => None,
        })
    }

    #[inline]
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
        self.gone = self.gone.wrapping_add(1);
        let Some(place) = self.slots.get_mut(key.0) else {
            return Slot::Emptied;
        };
        match place {
            Slot::Mapped { range, .. } => self.overlaps.removed(*range),
            Slot::Unanswered { .. } => self.unanswered -= 1,
            _ => {}
        }
        match &slot {
            Slot::Mapped { range, .. } => self.overlaps.added(*range),
            Slot::Unanswered { .. } => self.unanswered += 1,
            _ => {}
        }
        std::mem::replace(place, slot)
    }

    #[inline]
    fn remove(&mut self, key: EntryKey) -> Held {
        self.version = self.version.wrapping_add(1);
        self.gone = self.gone.wrapping_add(1);
        let Some(place) = self.slots.get_mut(key.0) else {
            return Held::Nothing;
        };
        let removed = std::mem::replace(place, Slot::Free(self.free));
        self.free = Some(key.0);
        match removed {
            Slot::Mapped { range, held, .. } => {
                self.overlaps.removed(range);
                held
            }
            Slot::Unanswered { held, .. } => {
                self.unanswered -= 1;
                held
            }
            other => other.into_held(),
        }
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
    #[inline]
    fn into_held(self) -> Held {
        match self {
            Self::Mapping { held, .. }
            | Self::Mapped { held, .. }
            | Self::Unanswered { held, .. } => held,
            Self::Free(_) | Self::Emptied => Held::Nothing,
        }
    }
}
