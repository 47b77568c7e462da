//! Copies: entries of one ledger that hold what an entry of another holds.

use std::ptr;

use super::{EntryKey, Held, Ledger, Slot};

/// The entry of a map or copy that is about to be issued, and what is visited until it has
/// returned.
pub(crate) type Begun<'s> = (EntryKey, Option<Visit<'s>>);

/// An exact operation that only looks at the mappings of a ledger: as long as it lives none of
/// them is unmapped as part of a range, and no other takes its place.
#[must_use = "what was looked at can be unmapped when this is dropped"]
pub(crate) struct Visit<'l> {
    ledger: &'l Ledger,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.ledger.end_shared(self.ledger.state.lock());
    }
}

impl Ledger {
    /// Records, for a COPY that is about to be issued, the memory that the entry `key` of `source`
    /// holds. `None`: a range unmap has emptied it.
    ///
    /// The entry is ended as that of a map is. The visit, if `source` is another ledger, must last
    /// until the COPY has returned: what the kernel copies is then what was recorded here.
    pub(crate) fn begin_copy<'s>(&self, source: &'s Self, key: &EntryKey) -> Option<Begun<'s>> {
        let visit = self.enter_with(source);
        match source.held(key) {
            Some(held) => Some((self.insert(held), visit)),
            None => {
                self.end_shared(self.state.lock());
                None
            }
        }
    }

    /// Begins an exact operation here, and one in `other`.
    ///
    /// Whoever waits for the second of two ledgers keeps the exclusive operations of the first
    /// waiting. So the two are taken by address: the one who waits then has the lower, and whoever
    /// has the higher waits for nothing. One ledger is entered once: an exclusive operation may
    /// be waiting for the first entry to end, and the second would wait for it.
    fn enter_with<'s>(&self, other: &'s Self) -> Option<Visit<'s>> {
        if ptr::eq(self, other) {
            self.enter();
            None
        } else if ptr::from_ref(self) < ptr::from_ref(other) {
            self.enter();
            Some(other.visit())
        } else {
            let visit = other.visit();
            self.enter();
            Some(visit)
        }
    }

    fn visit(&self) -> Visit<'_> {
        self.enter();
        Visit { ledger: self }
    }

    /// Begins an exact operation, when no exclusive one runs or waits.
    fn enter(&self) {
        self.shared().under_way += 1;
    }

    fn insert(&self, held: Held) -> EntryKey {
        EntryKey(self.state.lock().insert(Slot::Mapping(held)))
    }

    /// What an entry holds that the kernel has mapped.
    fn held(&self, key: &EntryKey) -> Option<Held> {
        match self.state.lock().slots.get(key.0) {
            Some(Slot::Mapped { held, .. }) => Some(held.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

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
        let (copy, visit) = to.begin_copy(from, key)?;
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
        let (refused, visit) = two.begin_copy(&one, &source).unwrap();
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
        let (copy, visit) = two.begin_copy(&one, &source).unwrap();
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
                    let (key, visit) = ledgers[to].begin_copy(&ledgers[from], source).unwrap();
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
}
