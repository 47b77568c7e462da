//! The guard of one mapping, and every way to unmap.

mod vacant;

use std::fmt;
use std::sync::Arc;

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use rustix::io::Errno;

use crate::address::{Iova, IovaRange};
use crate::cause;
use crate::context::Notices;
use crate::error::{Error, Refused, Result};
use crate::funnel;
use crate::ioas::{Ioas, IoasInner};
use crate::ledger::{EntryKey, Exclusive, Held, Unmap};

/// One mapping: unmapped when dropped.
///
/// It holds its address space. Unmapping can take long: it returns when no device reaches the
/// memory any more and its pages are unpinned. So drop a large mapping, or better
/// [`unmap`](Self::unmap) it, where waiting is all right.
///
/// Forgetting a mapping leaks nothing but its place: the memory stays mapped and alive until the
/// address space goes, or [`unmap_all`](crate::Ioas::unmap_all) empties it.
///
/// Since Linux 6.2.
///
/// # Invariants
/// `entry` is this mapping's in the ledger of `ioas`, until it is unmapped.
#[must_use = "dropping a mapping unmaps it"]
pub struct Mapping {
    ioas: Arc<IoasInner>,
    entry: Option<EntryKey>,
    range: IovaRange,
}

impl Mapping {
    #[inline]
    pub(crate) fn new(ioas: &Arc<IoasInner>, entry: EntryKey, range: IovaRange) -> Self {
        Self {
            ioas: Arc::clone(ioas),
            entry: Some(entry),
            range,
        }
    }

    /// The first address for the device.
    ///
    /// It is only a number: keep the mapping as long as the device uses it.
    /// `ioas.map(…)?.iova()` in one expression unmaps at its end.
    #[must_use]
    pub fn iova(&self) -> Iova {
        self.range.start()
    }

    /// All the addresses.
    #[must_use]
    pub fn range(&self) -> IovaRange {
        self.range
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.range.len().unwrap_or(u64::MAX)
    }

    /// Always false: a mapping has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The address space it is in.
    #[must_use]
    pub fn ioas(&self) -> Ioas {
        Ioas {
            inner: Arc::clone(&self.ioas),
        }
    }

    /// Where it is recorded. There always is an entry: an unmap takes the mapping.
    pub(crate) fn recorded(&self) -> Option<(&Arc<IoasInner>, &EntryKey)> {
        self.entry.as_ref().map(|entry| (&self.ioas, entry))
    }

    /// Unmaps it. On return no device reaches the memory through it any more.
    ///
    /// # Errors
    /// The kernel's refusal, with the mapping. `EBUSY`: a hardware queue uses the memory; the mapping
    /// is as it was. `ENOENT`, or `EBUSY`: somebody else has unmapped a part of it, as the program of a
    /// VFIO container can, and mapped something across an end of it. [`Error::StillPinned`]
    /// (`EDEADLK`): an emulated device pins the memory and does not let go of it. [`Error::Forked`].
    #[doc(alias = "IOMMU_IOAS_UNMAP")]
    pub fn unmap(mut self) -> Result<(), Refused<Self>> {
        match self.undo() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    fn undo(&mut self) -> Result<()> {
        self.undo_after(|_, _| Ok(()))
    }

    fn undo_in_drop(&mut self) {
        match self.undo() {
            Ok(()) | Err(Error::Forked) => {}
            Err(error) => self.ioas.context().mapping_stays(&error),
        }
    }

    /// Unmaps it, when `first` has been done to what is mapped, and succeeded.
    #[inline]
    pub(crate) fn undo_after(
        &mut self,
        first: impl FnOnce(IovaRange, &mut Notices<'_>) -> Result<()>,
    ) -> Result<()> {
        let Some(entry) = self.entry.take() else {
            return Ok(());
        };
        let result = self.ioas.unmap_entry(entry, first);
        result.map_err(|(entry, error)| {
            self.entry = Some(entry);
            explained(error, self.range)
        })
    }
}

impl Drop for Mapping {
    #[inline]
    fn drop(&mut self) {
        if self.entry.is_some() {
            self.undo_in_drop();
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl IoasInner {
    /// Unmaps exactly one entry, and lets its memory go when the kernel has confirmed it. What
    /// comes `first` finds the entry mapped, and nobody else unmaps it.
    #[inline]
    fn unmap_entry(
        &self,
        entry: EntryKey,
        first: impl FnOnce(IovaRange, &mut Notices<'_>) -> Result<()>,
    ) -> Result<(), (EntryKey, Error)> {
        if let Err(error) = self.context().check_process() {
            return Err((entry, error));
        }
        // Dropped after the notices: so an observer hears of things in their order.
        let _released: Held;
        let mut notices = self.context().notices();
        let (range, alone) = match self.ledger().begin_unmap(&entry) {
            Unmap::Issue(range) => (range, true),
            Unmap::FindOut(range) => (range, false),
            Unmap::Done => {
                self.ledger().forget(entry);
                return Ok(());
            }
        };
        if let Err(error) = first(range, &mut notices) {
            self.ledger().still_mapped();
            return Err((entry, error));
        }
        if alone {
            match self.issue_unmap(range, &mut notices) {
                Ok(_) => {
                    _released = self.ledger().unmapped(entry);
                    return Ok(());
                }
                Err(error) => {
                    self.ledger().still_mapped();
                    if !leaves_open(&error) {
                        return Err((entry, error));
                    }
                }
            }
        } else {
            self.ledger().still_mapped();
        }
        match self.settle(&entry, &mut notices) {
            Ok(held) => _released = held,
            Err(error) => return Err((entry, error)),
        }
        self.ledger().forget(entry);
        Ok(())
    }

    /// The kernel does not find a mapping that the ledger has, or another is recorded in its place:
    /// somebody else who holds the same `/dev/iommu` has unmapped it, or the kernel has not looked
    /// (as with faults injected into it). Makes sure that it is gone, and that what is asked for
    /// is not another mapping that has taken its place. What was held is free, to be dropped with
    /// no lock held.
    fn settle(&self, entry: &EntryKey, notices: &mut Notices<'_>) -> Result<Held> {
        // Nobody can take the place now.
        let exclusive = self.ledger().exclusive();
        for part in exclusive.left_of(entry) {
            self.unmap_surely(part, notices)?;
        }
        Ok(exclusive.emptied(entry))
    }

    /// The kernel has refused to map `entry`, or has mapped it and could not say so. Undoes that,
    /// where its place is known: at `range`. Then what was held is free, to be dropped with no lock
    /// held; else it stays with the address space: `None`.
    pub(crate) fn undo_unanswered(
        &self,
        entry: EntryKey,
        range: Option<IovaRange>,
        notices: &mut Notices<'_>,
    ) -> Option<Held> {
        let kept = self.ledger().unanswered(&entry, range);
        self.context().memories_stay(kept);
        range?;
        let exclusive = self.ledger().exclusive();
        if exclusive.is_disputed(&entry) {
            // What is there is most likely the other.
            return None;
        }
        for part in exclusive.left_of(&entry) {
            self.unmap_surely(part, notices).ok()?;
        }
        let held = exclusive.emptied(&entry);
        drop(exclusive);
        self.ledger().forget(entry);
        Some(held)
    }

    /// Unmaps all entries within `range`; returns how many bytes that was.
    pub(crate) fn unmap_within(&self, range: IovaRange) -> Result<u64> {
        self.unmap_within_after(range, |_, _| Ok(()))
    }

    /// As [`unmap_within`](Self::unmap_within), when `first` has been done to what is mapped there,
    /// and succeeded.
    pub(crate) fn unmap_within_after(
        &self,
        range: IovaRange,
        first: impl FnOnce(&[(EntryKey, IovaRange)], &mut Notices<'_>) -> Result<()>,
    ) -> Result<u64> {
        self.context().check_process()?;
        // Made before the exclusive right they are dropped after it, the notices first: so an
        // observer hears of things in their order.
        let mut released: Vec<Held> = Vec::new();
        let mut notices = self.context().notices();
        let exclusive = self.ledger().exclusive();
        let entries = exclusive.touching(range);
        if let Some((_, mapping)) = entries.iter().find(|(_, entry)| !range.contains(*entry)) {
            return Err(Error::PartlyCovered {
                range,
                mapping: *mapping,
            });
        }
        // What others have mapped is theirs; but all is all.
        if entries.is_empty() && range != IovaRange::ALL {
            return Ok(0);
        }
        first(&entries, &mut notices)?;
        match self.issue_unmap(range, &mut notices) {
            Ok(bytes) => {
                released.extend(entries.iter().map(|(key, _)| exclusive.emptied(key)));
                released.extend(exclusive.nothing_left_in(range));
                Ok(bytes)
            }
            Err(error) if entries.is_empty() => Err(error),
            Err(_) => self.unmap_each(&exclusive, &entries, &mut released, &mut notices),
        }
    }

    /// After a failed range unmap, which may have unmapped some and does not say which: asks for
    /// every entry by itself.
    fn unmap_each(
        &self,
        exclusive: &Exclusive<'_>,
        entries: &[(EntryKey, IovaRange)],
        released: &mut Vec<Held>,
        notices: &mut Notices<'_>,
    ) -> Result<u64> {
        let mut unmapped = 0_u64;
        let mut kept = Vec::new();
        for (key, range) in entries {
            match self.unmap_surely(*range, notices) {
                Ok(()) => {}
                Err(Error::Kernel(reason)) => {
                    kept.push((range.start(), reason));
                    continue;
                }
                Err(error) => return Err(error),
            }
            released.push(exclusive.emptied(key));
            unmapped = unmapped.saturating_add(range.len().unwrap_or(u64::MAX));
        }
        match kept.first() {
            None => Ok(unmapped),
            Some(&(first, reason)) => Err(Error::PartlyUnmapped {
                unmapped,
                remaining: kept.len(),
                first,
                reason,
            }),
        }
    }

    /// Sees to it that nothing is mapped at `range`: that the kernel has not found anything does not
    /// say so. (It looks no further than to what reaches out of the range, which somebody else has
    /// mapped when a container of the first type had cut a mapping; and a fault injected into it
    /// makes it answer so once.)
    fn unmap_surely(&self, range: IovaRange, notices: &mut Notices<'_>) -> Result<()> {
        match self.issue_unmap(range, notices) {
            Err(error) if says_nothing(&error) => {}
            answer => return answer.map(drop),
        }
        match self.is_vacant(range, notices) {
            true => Ok(()),
            false => self.issue_unmap(range, notices).map(drop),
        }
    }

    #[inline]
    fn issue_unmap(&self, range: IovaRange, notices: &mut Notices<'_>) -> Result<u64> {
        let mut arg = sys::iommu_ioas_unmap::sized();
        arg.ioas_id = self.id();
        arg.iova = range.start().get();
        // The whole address space has no length; the kernel's sign for it is the largest number.
        arg.length = range.len().unwrap_or(u64::MAX);
        let context = self.context();
        // Whoever unmaps has looked whether this is the process.
        let answer = context.noted(&nr::IOAS_UNMAP, notices, || {
            funnel::plain(context.fd(), &nr::IOAS_UNMAP, &mut arg)
        });
        match answer {
            Ok(()) => Ok(arg.length),
            Err(errno) => Err(cause::refusal(nr::IOAS_UNMAP.describe(), errno)),
        }
    }
}

/// The error of an unmap of `range` that was refused.
fn explained(error: Error, range: IovaRange) -> Error {
    match error {
        Error::Kernel(reason) if reason.errno == Errno::DEADLK => {
            Error::StillPinned { range, reason }
        }
        error => error,
    }
}

/// Whether the kernel leaves open if a mapping is gone: it has not found it, or could not write its
/// answer.
fn says_nothing(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::NOENT | Errno::FAULT))
}

/// Whether it leaves that open where others map at the same time: kernels that lack a fix of 2026 look
/// at the place once more when they have emptied it, and refuse (`EBUSY`) what another has begun to
/// map there.
fn leaves_open(error: &Error) -> bool {
    says_nothing(error) || error.errno() == Some(Errno::BUSY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::DmaBuffer;
    use crate::context::Iommufd;
    use crate::funnel::script;
    use crate::ioas::Ioas;
    use crate::map::Access;
    use std::fs::File;

    /// A kernel that does so has warned of it, which no test on one may bring about.
    #[test]
    fn memory_that_an_emulated_device_keeps_is_told_and_given_back() {
        let mut refusals = 1;
        let _kernel = script::answering(move |mut ask| {
            if ask.opcode == nr::IOAS_UNMAP.request() && refusals > 0 {
                refusals -= 1;
                return Err(Errno::DEADLK);
            }
            if ask.opcode == nr::IOAS_ALLOC.request() {
                ask.set_u32(8, 1);
            }
            Ok(())
        });
        let iommufd = Iommufd::unasked(File::open("/dev/null").unwrap().into());
        let ioas = Ioas::new(&iommufd).unwrap();
        let memory = DmaBuffer::new(4096).unwrap().share();
        let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
        let range = mapping.range();
        let refused = mapping.unmap().unwrap_err();
        match refused.error() {
            Error::StillPinned { range: of, reason } => {
                assert_eq!((*of, reason.errno), (range, Errno::DEADLK));
            }
            other => panic!("{other}"),
        }
        assert_eq!(refused.error().errno(), Some(Errno::DEADLK));
        let memory = DmaBuffer::reclaim(memory).unwrap_err();
        refused.into_value().unmap().unwrap();
        DmaBuffer::reclaim(memory.into_value()).unwrap();
    }

    /// Unmaps where the kernel answers unmaps, and then maps of what is nobody's memory, by these, and else by success. What
    /// is refused is unmapped at last, and the memory is free then.
    fn unmap<const N: usize, const M: usize>(
        unmaps: [Errno; N],
        maps: [Errno; M],
    ) -> Result<(), Option<Errno>> {
        let (mut unmaps, mut maps) = (unmaps.into_iter(), maps.into_iter());
        let _kernel = script::answering(move |mut ask| {
            let answer = match ask.opcode {
                unmap if unmap == nr::IOAS_UNMAP.request() => unmaps.next(),
                // An address of the kernel's half.
                map if map == nr::IOAS_MAP.request() && ask.arg[23] == 0xff => maps.next(),
                alloc if alloc == nr::IOAS_ALLOC.request() => {
                    ask.set_u32(8, 1);
                    None
                }
                _ => None,
            };
            answer.map_or(Ok(()), Err)
        });
        let iommufd = Iommufd::unasked(File::open("/dev/null").unwrap().into());
        let ioas = Ioas::new(&iommufd).unwrap();
        let memory = DmaBuffer::new(4096).unwrap().share();
        let mapping = ioas.map(&memory, Access::ReadWrite).unwrap();
        let done = mapping.unmap().map_err(|refused| {
            let errno = refused.error().errno();
            assert_eq!(Arc::strong_count(&memory), 2, "it is held");
            refused.into_value().unmap().unwrap();
            errno
        });
        DmaBuffer::reclaim(memory).unwrap();
        done
    }

    #[test]
    fn what_was_not_found_is_gone_if_another_could_take_its_place() {
        let (gone, full) = (Errno::NOENT, Errno::EXIST);
        assert_eq!(unmap([gone; 2], []), Ok(()), "nothing pins it");
        assert_eq!(unmap([gone; 2], [Errno::FAULT; 2]), Ok(()));
        assert_eq!(unmap([gone; 3], [full]), Err(Some(gone)));
        assert_eq!(unmap([gone; 3], [Errno::FAULT, full]), Err(Some(gone)));
        assert_eq!(unmap([gone; 3], [Errno::NOMEM; 3]), Err(Some(gone)));
        assert_eq!(unmap([gone; 2], [Errno::NOMEM]), Ok(()));
        assert_eq!(
            unmap([gone; 2], [Errno::INVAL]),
            Ok(()),
            "all of it is reserved"
        );
        assert_eq!(unmap([gone, gone], [full]), Ok(()), "found at last");
    }

    #[test]
    fn a_place_that_another_takes_is_asked_about_again_and_one_that_is_in_use_is_not_empty() {
        let (taken, gone) = (Errno::BUSY, Errno::NOENT);
        assert_eq!(unmap([taken, gone], [Errno::FAULT; 2]), Ok(()));
        assert_eq!(unmap([taken], []), Ok(()));
        assert_eq!(unmap([taken; 2], []), Err(Some(taken)), "a hardware queue");
    }
}
