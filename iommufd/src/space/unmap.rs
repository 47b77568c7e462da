//! Every way to unmap what is in a space.

use super::{SpaceDriver, SpaceInner};
use crate::address::IovaRange;
use crate::error::{Error, Result};
use crate::ledger::{EntryKey, Exclusive, Held, Unmap};
use crate::watch::Notices;

impl SpaceInner {
    /// Unmaps exactly one entry, and lets its memory go when the kernel has confirmed it.
    pub(super) fn unmap_entry(
        &self,
        entry: EntryKey,
        unmap: impl FnOnce(&dyn SpaceDriver, IovaRange, &mut Notices<'_>) -> Result<u64>,
    ) -> Result<(), (EntryKey, Error)> {
        if let Err(error) = self.watch().check_process() {
            return Err((entry, error));
        }
        // Dropped after the notices: so an observer hears of things in their order.
        let _released: Held;
        let mut notices = self.watch().notices();
        match self.ledger.begin_unmap(&entry) {
            Unmap::Issue(range) => match unmap(&*self.driver, range, &mut notices) {
                Ok(_) => _released = self.ledger.unmapped(entry),
                Err(error) => {
                    self.ledger.still_mapped();
                    return Err((entry, error));
                }
            },
            Unmap::FindOut(_) => {
                self.ledger.still_mapped();
                match self.settle(&entry, &mut notices) {
                    Ok(held) => _released = held,
                    Err(error) => return Err((entry, error)),
                }
                self.ledger.forget(entry);
            }
            Unmap::Done => self.ledger.forget(entry),
        }
        Ok(())
    }

    /// Another mapping is recorded in the place of `entry`: the kernel has unmapped that by itself,
    /// and nobody has noticed. Makes sure of it, and takes nothing of the other. What was held is
    /// free, to be dropped with no lock held.
    fn settle(&self, entry: &EntryKey, notices: &mut Notices<'_>) -> Result<Held> {
        // Nobody can take the place now.
        let exclusive = self.ledger.exclusive();
        for part in exclusive.left_of(entry) {
            self.driver.unmap(part, notices)?;
        }
        Ok(exclusive.emptied(entry))
    }

    /// Unmaps all entries within `range`; returns how many bytes that was.
    pub(super) fn unmap_within(&self, range: IovaRange) -> Result<u64> {
        self.watch().check_process()?;
        // Made before the exclusive right they are dropped after it, the notices first: so an
        // observer hears of things in their order.
        let mut released: Vec<Held> = Vec::new();
        let mut notices = self.watch().notices();
        let exclusive = self.ledger.exclusive();
        let entries = covered(&exclusive, range)?;
        if entries.is_empty() {
            return Ok(0);
        }
        if let Ok(bytes) = self.driver.unmap(range, &mut notices) {
            released.extend(entries.iter().map(|(key, _)| exclusive.emptied(key)));
            return Ok(bytes);
        }
        // Some may be unmapped, and nobody says which: so every entry by itself.
        let each = |range, notices: &mut Notices<'_>| Ok(self.driver.unmap(range, notices)?);
        unmap_each(&exclusive, &entries, &mut released, &mut notices, each)
    }
}

/// The entries that lie in `range`.
pub(super) fn covered(
    exclusive: &Exclusive<'_>,
    range: IovaRange,
) -> Result<Vec<(EntryKey, IovaRange)>> {
    let entries = exclusive.touching(range);
    match entries.iter().find(|(_, entry)| !range.contains(*entry)) {
        None => Ok(entries),
        Some(&(_, mapping)) => Err(Error::PartlyCovered { range, mapping }),
    }
}

/// Unmaps every one of `entries` by itself. Returns how many bytes that was.
pub(super) fn unmap_each(
    exclusive: &Exclusive<'_>,
    entries: &[(EntryKey, IovaRange)],
    released: &mut Vec<Held>,
    notices: &mut Notices<'_>,
    mut unmap: impl FnMut(IovaRange, &mut Notices<'_>) -> Result<u64>,
) -> Result<u64> {
    let mut unmapped = 0_u64;
    let mut kept = Vec::new();
    for (key, range) in entries {
        match unmap(*range, notices) {
            Ok(_) => {
                released.push(exclusive.emptied(key));
                unmapped = unmapped.saturating_add(range.len().unwrap_or(u64::MAX));
            }
            Err(error) => kept.push((range.start(), error)),
        }
    }
    let remaining = kept.len();
    match kept.into_iter().next() {
        None => Ok(unmapped),
        Some((first, Error::Kernel(reason) | Error::NotRead { reason, .. })) => {
            Err(Error::PartlyUnmapped {
                unmapped,
                remaining,
                first,
                reason,
            })
        }
        Some((_, error)) => Err(error),
    }
}
