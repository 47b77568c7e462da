//! Memory that devices may only read, where a page table takes none.

use super::{EntryKey, Exact, Held, Ledger, Slot, State};
use crate::address::IovaRange;
use crate::by_number::Numbers;
use crate::error::{Error, Result};
use crate::map::Access;

/// What of a ledger devices may only read.
#[derive(Default)]
pub(super) struct ReadOnly {
    /// The slots of such entries. Those of slots that are not in use any more mean nothing.
    slots: Numbers<usize>,
    /// How many page tables there are that take no such memory.
    refusing: usize,
}

impl Ledger {
    /// As [`begin_map`](Self::begin_map), of memory that devices may only read.
    ///
    /// # Errors
    /// [`Error::ReadOnlyRefused`].
    pub(crate) fn begin_read_only(&self, held: Held) -> Result<EntryKey> {
        let mut state = self.begin(Exact::Map);
        match state.takes(Access::Read) {
            Ok(()) => Ok(state.insert_with(held, Access::Read)),
            Err(error) => {
                self.end(state, Exact::Map);
                Err(error)
            }
        }
    }

    /// From now on, until as many [`permit_read_only`](Self::permit_read_only) have come, there is
    /// no memory here that devices may only read.
    ///
    /// A map of such memory that is under way now is the kernel's to refuse, or the page table.
    ///
    /// # Errors
    /// [`Error::ReadOnlyMapping`]: there is some. Not where somebody else may have unmapped it.
    pub(crate) fn refuse_read_only(&self) -> Result<()> {
        let mut state = self.state.lock();
        match state.first_read_only() {
            Some(mapping) if !state.has_strangers => Err(Error::ReadOnlyMapping { mapping }),
            _ => {
                state.read_only.refusing += 1;
                Ok(())
            }
        }
    }

    /// Undoes one [`refuse_read_only`](Self::refuse_read_only).
    pub(crate) fn permit_read_only(&self) {
        let refusing = &mut self.state.lock().read_only.refusing;
        *refusing = refusing.saturating_sub(1);
    }
}

impl State {
    /// Whether there can be memory here that devices may only read, if that is the `access`.
    pub(super) fn takes(&self, access: Access) -> Result<()> {
        match access {
            Access::Read if self.read_only.refusing > 0 => Err(Error::ReadOnlyRefused),
            _ => Ok(()),
        }
    }

    /// Inserts an entry of memory that devices have this `access` to.
    pub(super) fn insert_with(&mut self, held: Held, access: Access) -> EntryKey {
        let key = self.insert_mapping(held);
        if access == Access::Read {
            self.read_only.slots.insert(key.0);
        }
        key
    }

    /// A slot is in use for another entry.
    #[inline]
    pub(super) fn forget_read_only(&mut self, index: usize) {
        // Hardly ever is there any.
        if !self.read_only.slots.is_empty() {
            self.read_only.slots.remove(&index);
        }
    }

    /// The first mapping, by address, that devices may only read.
    fn first_read_only(&self) -> Option<IovaRange> {
        let slots = self.read_only.slots.iter();
        let ranges = slots.filter_map(|&index| match self.slots.get(index) {
            Some(Slot::Mapped { range, .. }) => Some(*range),
            _ => None,
        });
        ranges.min_by_key(|range| range.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Iova;

    fn page(number: u64) -> IovaRange {
        IovaRange::with_len(Iova::new(number * 4096), 4096).unwrap()
    }

    fn read_only(ledger: &Ledger, number: u64) -> EntryKey {
        let key = ledger.begin_read_only(Held::Nothing).unwrap();
        ledger.mapped(&key, page(number));
        key
    }

    fn writable(ledger: &Ledger, number: u64) -> EntryKey {
        let key = ledger.begin_map(Held::Nothing);
        ledger.mapped(&key, page(number));
        key
    }

    fn copy(ledger: &Ledger, key: &EntryKey, access: Access) -> Result<EntryKey> {
        let (copy, visit) = ledger.begin_copy(ledger, key, access)?.unwrap();
        ledger.mapped(&copy, page(99));
        drop(visit);
        Ok(copy)
    }

    fn there(ledger: &Ledger) -> Option<IovaRange> {
        match ledger.refuse_read_only() {
            Ok(()) => {
                ledger.permit_read_only();
                None
            }
            Err(Error::ReadOnlyMapping { mapping }) => Some(mapping),
            Err(error) => panic!("{error}"),
        }
    }

    fn is_refused<T>(result: Result<T>) -> bool {
        matches!(result, Err(Error::ReadOnlyRefused))
    }

    #[test]
    fn who_refuses_it_finds_the_first_that_there_is_until_it_is_gone() {
        let ledger = Ledger::default();
        let _other = writable(&ledger, 1);
        assert_eq!(there(&ledger), None);
        let (second, first) = (read_only(&ledger, 7), read_only(&ledger, 3));
        assert_eq!(there(&ledger), Some(page(3)));
        drop(ledger.exclusive().emptied(&first));
        assert_eq!(there(&ledger), Some(page(7)));
        ledger.begin_unmap(&second);
        drop(ledger.unmapped(second));
        assert_eq!(there(&ledger), None);
        // The slot is another's, and then another's that is not to be written.
        let next = writable(&ledger, 7);
        assert_eq!(there(&ledger), None);
        ledger.begin_unmap(&next);
        drop(ledger.unmapped(next));
        read_only(&ledger, 8);
        assert_eq!(there(&ledger), Some(page(8)));
    }

    #[test]
    fn nothing_is_held_of_what_is_refused() {
        let ledger = Ledger::default();
        let source = writable(&ledger, 1);
        ledger.refuse_read_only().unwrap();
        ledger.refuse_read_only().unwrap();
        for _ in 0..2 {
            assert!(is_refused(ledger.begin_read_only(Held::Nothing)));
            assert!(is_refused(copy(&ledger, &source, Access::Read)));
            ledger.permit_read_only();
        }
        // It waits for nobody: no operation is left under way.
        drop(ledger.exclusive());
        assert_eq!(ledger.totals(), (1, 4096));
        let copied = copy(&ledger, &source, Access::Read).unwrap();
        assert_eq!(there(&ledger), Some(page(99)));
        drop(ledger.exclusive().emptied(&copied));
        for access in [Access::Write, Access::ReadWrite] {
            ledger.refuse_read_only().unwrap();
            let copied = copy(&ledger, &source, access).unwrap();
            drop(ledger.exclusive().emptied(&copied));
            ledger.permit_read_only();
        }
    }

    #[test]
    fn what_is_under_way_or_may_be_gone_refuses_nobody() {
        let ledger = Ledger::default();
        let begun = ledger.begin_read_only(Held::Nothing).unwrap();
        assert_eq!(there(&ledger), None);
        ledger.mapped(&begun, page(1));
        assert_eq!(there(&ledger), Some(page(1)));
        ledger.expect_strangers();
        assert_eq!(there(&ledger), None);
    }
}
