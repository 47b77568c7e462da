//! Copies: entries of one ledger that hold what an entry of another holds.

use std::{iter, ptr};

use super::{EntryKey, Exact, Held, Ledger, Slot};
use crate::error::Result;
use crate::map::Access;

/// The entry of a map or copy that is about to be issued, and what is visited until it has
/// returned.
pub(crate) type Begun<'s> = (EntryKey, Option<Visit<'s>>);

/// A copy of what is mapped in a ledger is under way: as long as it lives none of it is unmapped as
/// part of a range.
#[must_use = "what was looked at can be unmapped when this is dropped"]
pub(crate) struct Visit<'l> {
    ledger: &'l Ledger,
    /// Whether it is an exact operation by itself, or that of the copy's own entry.
    by_itself: bool,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut state = self.ledger.state.lock();
        state.copying -= 1;
        state.version = state.version.wrapping_add(1);
        state.copied = state.version;
        if self.by_itself {
            self.ledger.end(state, Exact::Map);
        }
    }
}

impl Ledger {
    /// Records, for a COPY that is about to be issued, the memory that the entry `key` of `source`
    /// holds. `None`: a range unmap has emptied it, or another mapping has taken its place.
    ///
    /// The entry is ended as that of a map is. The visit must last until the COPY has returned:
    /// what the kernel copies is then what was recorded here. Should another mapping take the
    /// source's place meanwhile, [`Ledger::mapped`] finds that out.
    ///
    /// # Errors
    /// As for [`Ledger::begin_read_only`], of a copy that devices may only read.
    pub(crate) fn begin_copy<'s>(
        &self,
        source: &'s Self,
        key: &EntryKey,
        access: Access,
    ) -> Result<Option<Begun<'s>>> {
        let visit = self.enter_with(source);
        let held = source.held(key);
        let mut state = self.state.lock();
        let refused = state.takes(access).err();
        match (held, refused) {
            (Some(held), None) => Ok(Some((state.insert_with(held, access), Some(visit)))),
            (_nothing, refused) => {
                drop(state);
                drop(visit);
                self.end(self.state.lock(), Exact::Map);
                refused.map_or(Ok(None), Err)
            }
        }
    }

    /// Begins an exact operation here, and one in `other`.
    ///
    /// Whoever waits for the second of two ledgers keeps the exclusive operations of the first
    /// waiting. So the two are taken by address: the one who waits then has the lower, and whoever
    /// has the higher waits for nothing. One ledger is entered once: an exclusive operation may
    /// be waiting for the first entry to end, and the second would wait for it.
    fn enter_with<'s>(&self, other: &'s Self) -> Visit<'s> {
        if ptr::eq(self, other) {
            self.begin(Exact::Map).copying += 1;
            Visit {
                ledger: other,
                by_itself: false,
            }
        } else if ptr::from_ref(self) < ptr::from_ref(other) {
            drop(self.begin(Exact::Map));
            other.visit()
        } else {
            let visit = other.visit();
            drop(self.begin(Exact::Map));
            visit
        }
    }

    fn visit(&self) -> Visit<'_> {
        self.begin(Exact::Map).copying += 1;
        Visit {
            ledger: self,
            by_itself: true,
        }
    }

    /// What an entry holds that the kernel has mapped, if nothing else was mapped in its place; and
    /// what the kernel may have mapped there without having said so.
    fn held(&self, key: &EntryKey) -> Option<Held> {
        let state = self.state.lock();
        let Some(Slot::Mapped { range, held, .. }) = state.slots.get(key.0) else {
            return None;
        };
        if !state.is_alone(key, *range) {
            return None;
        }
        if state.unanswered == 0 {
            return Some(held.clone());
        }
        let unanswered = state.slots.iter().filter_map(|slot| match slot {
            Slot::Unanswered {
                range: place, held, ..
            } if place.is_none_or(|place| place.overlaps(*range)) => Some(held),
            _ => None,
        });
        let all = iter::once(held).chain(unanswered).cloned();
        Some(Held::Several(all.collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::super::Unmap;
    use super::*;
    use crate::address::{Iova, IovaRange};
    use crate::buffer::DmaBuffer;
    use crate::memory::DmaMemory;

    fn page(number: u64) -> IovaRange {
        IovaRange::with_len(Iova::new(number * 4096), 4096).unwrap()
    }

    fn map(ledger: &Ledger, range: IovaRange) -> (EntryKey, Arc<dyn DmaMemory>) {
        let memory: Arc<dyn DmaMemory> = DmaBuffer::new(4096).unwrap().share();
        let key = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
        ledger.mapped(&key, range);
        (key, memory)
    }

    fn copy(to: &Ledger, from: &Ledger, key: &EntryKey, range: IovaRange) -> Option<EntryKey> {
        let (copy, visit) = to.begin_copy(from, key, Access::ReadWrite).unwrap()?;
        to.mapped(&copy, range);
        drop(visit);
        Some(copy)
    }

    #[test]
    fn a_copy_holds_what_its_source_held() {
        let (one, two) = (Ledger::default(), Ledger::default());
        let (source, memory) = map(&one, page(1));
        let far = copy(&two, &one, &source, page(1)).unwrap();
        let near = copy(&one, &one, &source, page(2)).unwrap();
        assert_eq!(Arc::strong_count(&memory), 4);
        for (ledger, key) in [(&one, source), (&two, far), (&one, near)] {
            assert!(matches!(
                ledger.begin_unmap(&key),
                super::super::Unmap::Issue(_)
            ));
            drop(ledger.unmapped(key));
        }
        assert_eq!(Arc::strong_count(&memory), 1);
        drop((one.exclusive(), two.exclusive()));
    }

    #[test]
    fn nothing_is_left_of_a_copy_of_what_was_emptied_or_refused() {
        let (one, two) = (Ledger::default(), Ledger::default());
        let (source, memory) = map(&one, page(1));
        let (refused, visit) = two
            .begin_copy(&one, &source, Access::ReadWrite)
            .unwrap()
            .unwrap();
        drop(two.not_mapped(refused));
        drop(visit);
        drop(one.exclusive().emptied(&source));
        assert!(copy(&two, &one, &source, page(1)).is_none());
        assert!(copy(&one, &one, &source, page(1)).is_none());
        assert_eq!(Arc::strong_count(&memory), 1);
        drop((one.exclusive(), two.exclusive()));
        assert!(two.drain().is_empty());
    }

    #[test]
    fn a_source_is_not_emptied_while_it_is_copied() {
        let (one, two) = (Ledger::default(), Ledger::default());
        let (source, _memory) = map(&one, page(1));
        let (tell, told) = mpsc::channel();
        let (copy, visit) = two
            .begin_copy(&one, &source, Access::ReadWrite)
            .unwrap()
            .unwrap();
        thread::scope(|threads| {
            for ledger in [&one, &two] {
                let tell = tell.clone();
                threads.spawn(move || {
                    drop(ledger.exclusive());
                    tell.send(()).unwrap();
                });
            }
            let soon = Duration::from_millis(50);
            assert!(told.recv_timeout(soon).is_err());
            two.mapped(&copy, page(1));
            told.recv().unwrap();
            assert!(told.recv_timeout(soon).is_err(), "the source waits still");
            drop(visit);
            told.recv().unwrap();
        });
    }

    #[test]
    fn opposite_copies_and_exclusive_operations_on_both_ledgers_all_end() {
        const ROUNDS: usize = 300;
        let ledgers = Arc::new([Ledger::default(), Ledger::default()]);
        let sources = Arc::new(ledgers.each_ref().map(|ledger| map(ledger, page(1))));
        let (tell, told) = mpsc::channel();
        for (from, to) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (ledgers, sources) = (Arc::clone(&ledgers), Arc::clone(&sources));
            let tell = tell.clone();
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    let (source, _) = &sources[from];
                    let (key, visit) = ledgers[to]
                        .begin_copy(&ledgers[from], source, Access::ReadWrite)
                        .unwrap()
                        .unwrap();
                    thread::yield_now();
                    drop(ledgers[to].not_mapped(key));
                    drop(visit);
                }
                tell.send(()).unwrap();
            });
        }
        for index in [0, 1] {
            let ledgers = Arc::clone(&ledgers);
            // Until the test is over, and this the last to have the ledgers.
            thread::spawn(move || {
                while Arc::strong_count(&ledgers) > 2 {
                    drop(ledgers[index].exclusive());
                }
            });
        }
        for _ in 0..4 {
            told.recv_timeout(Duration::from_secs(60))
                .expect("a deadlock");
        }
    }

    /// Maps where something is recorded, which somebody else must have unmapped.
    fn map_over(ledger: &Ledger, range: IovaRange) -> (EntryKey, Arc<dyn DmaMemory>, usize) {
        let memory: Arc<dyn DmaMemory> = DmaBuffer::new(4096).unwrap().share();
        let key = ledger.begin_map(Held::Memory(Arc::clone(&memory)));
        let kept = ledger.mapped(&key, range);
        (key, memory, kept)
    }

    #[test]
    fn what_another_has_taken_the_place_of_is_not_copied() {
        let (one, two) = (Ledger::default(), Ledger::default());
        let (stale, memory) = map(&one, page(1));
        let (other, successor, kept) = map_over(&one, page(1));
        assert_eq!(kept, 0, "nothing was copied meanwhile");
        for to in [&one, &two] {
            assert!(copy(to, &one, &stale, page(5)).is_none());
            assert!(copy(to, &one, &other, page(5)).is_none());
        }
        assert_eq!(Arc::strong_count(&memory), 2);
        assert_eq!(Arc::strong_count(&successor), 2);
        drop((one.exclusive(), two.exclusive()));
    }

    #[test]
    fn what_may_have_been_copied_in_the_place_of_another_is_kept_for_good() {
        let (one, two) = (Ledger::default(), Ledger::default());
        one.expect_strangers();
        let (stale, _memory) = map(&one, page(1));
        let (begun, _) = map(&one, page(2));
        // The kernel has mapped the successor, and the copy comes before that is recorded.
        let late: Arc<dyn DmaMemory> = DmaBuffer::new(4096).unwrap().share();
        let successor = one.begin_map(Held::Memory(Arc::clone(&late)));
        let copied = copy(&two, &one, &stale, page(1)).unwrap();
        assert_eq!(one.mapped(&successor, page(1)), 1);
        drop(two.exclusive().emptied(&copied));
        drop(one.exclusive().emptied(&successor));
        assert_eq!(Arc::strong_count(&late), 2, "whoever has it mapped");
        // What lies elsewhere is none of that.
        let late = one.begin_map(Held::Nothing);
        copy(&two, &one, &begun, page(1)).unwrap();
        assert_eq!(one.mapped(&late, page(3)), 0);
    }

    #[test]
    fn where_nobody_else_unmaps_an_unmap_that_is_not_recorded_yet_keeps_nothing() {
        let (one, two) = (Ledger::default(), Ledger::default());
        let (source, _memory) = map(&one, page(1));
        // It waits for the place, which it gets when the kernel has unmapped the source.
        let late: Arc<dyn DmaMemory> = DmaBuffer::new(4096).unwrap().share();
        let successor = one.begin_map(Held::Memory(Arc::clone(&late)));
        copy(&two, &one, &source, page(1)).unwrap();
        assert!(matches!(one.begin_unmap(&source), Unmap::Issue(_)));
        assert_eq!(one.mapped(&successor, page(1)), 0);
        drop(one.unmapped(source));
        assert!(matches!(one.begin_unmap(&successor), Unmap::Issue(_)));
        drop(one.unmapped(successor));
        assert_eq!(Arc::strong_count(&late), 1);
    }

    #[test]
    fn a_copy_holds_what_may_be_in_the_place_of_its_source() {
        let (one, two) = (Ledger::default(), Ledger::default());
        let (source, memory) = map(&one, page(1));
        let lost: Arc<dyn DmaMemory> = DmaBuffer::new(4096).unwrap().share();
        let anywhere = one.begin_map(Held::Memory(Arc::clone(&lost)));
        assert_eq!(one.unanswered(&anywhere, None), 0);
        let elsewhere = one.begin_map(Held::Memory(Arc::clone(&lost)));
        assert_eq!(one.unanswered(&elsewhere, Some(page(9))), 0);
        let copied = copy(&two, &one, &source, page(1)).unwrap();
        assert_eq!(Arc::strong_count(&memory), 3);
        assert_eq!(Arc::strong_count(&lost), 4);
        drop(two.exclusive().emptied(&copied));
        assert_eq!(Arc::strong_count(&lost), 3);
        drop(one.exclusive().nothing_left_in(IovaRange::ALL));
        assert_eq!(Arc::strong_count(&lost), 1);
        // If it may have been copied, it is not known what holds it.
        let anywhere = one.begin_map(Held::Memory(Arc::clone(&lost)));
        copy(&two, &one, &source, page(2)).unwrap();
        assert_eq!(one.unanswered(&anywhere, None), 1);
    }
}
