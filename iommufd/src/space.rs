//! Address spaces that another interface of the kernel keeps, such as a VFIO container: with the
//! same ledger, and the same proof of when memory may be let go, as an [`Ioas`](crate::Ioas).

// UNSAFETY: has the kernel map memory, by way of a driver.
#![expect(
    unsafe_code,
    reason = "maps memory that the ledger holds; the driver's contract is an unsafe trait"
)]

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use rustix::io::Errno;

use crate::address::{Iova, IovaRange};
use crate::dirty::Granule;
use crate::error::{Accounting, Error, KernelError, Refused, Result};
use crate::ioas::Mapped;
use crate::ledger::{EntryKey, Held, Ledger};
use crate::map::Access;
use crate::memory::DmaSlice;
use crate::watch::{self, Notices, Watch};

mod dirty;
mod free;
mod under_way;
mod unmap;

use under_way::UnderWay;

/// What maps and unmaps memory by an interface of the kernel's other than `/dev/iommu`.
///
/// Its ioctls are noted with the [`Notices`] that it is given: a lock may be held.
///
/// # Safety
/// - When [`map`](Self::map) answers an error, the kernel has mapped nothing;
/// - when [`unmap`](Self::unmap) or [`unmap_reading_dirty`](Self::unmap_reading_dirty) answers
///   without one, there was a moment since the call at which the kernel had nothing mapped in the
///   range, and no device reaches what was mapped there before.
pub unsafe trait SpaceDriver: fmt::Debug + Send + Sync + 'static {
    /// Whose process it belongs to, and who hears of its ioctls.
    fn watch(&self) -> &Watch;

    /// Maps memory of this process, from `address` on, at `range`.
    ///
    /// # Errors
    /// The kernel's refusal.
    ///
    /// # Safety
    /// The memory stays mapped in this process where it is, and is covered by no Rust reference,
    /// until the kernel has nothing of this mapping any more.
    unsafe fn map(
        &self,
        range: IovaRange,
        address: u64,
        access: Access,
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError>;

    /// Unmaps all that is mapped in `range`, which can be [`IovaRange::ALL`]; no mapping lies in it
    /// only in part. Returns how many bytes that was.
    ///
    /// # Errors
    /// The kernel's refusal; some of it may have been unmapped.
    fn unmap(&self, range: IovaRange, notices: &mut Notices<'_>) -> Result<u64, KernelError>;

    /// Sets a bit in `words`, which are zeroes, for each `page` of `range` that was written since
    /// the last read, and forgets that it was. `range` is one mapping.
    ///
    /// # Errors
    /// The kernel's refusal; nothing is forgotten.
    fn read_dirty(
        &self,
        range: IovaRange,
        page: Granule,
        words: &mut [u64],
        notices: &mut Notices<'_>,
    ) -> Result<(), KernelError>;

    /// [`read_dirty`](Self::read_dirty) and [`unmap`](Self::unmap) in one.
    ///
    /// # Errors
    /// The kernel's refusal; nothing is unmapped then.
    fn unmap_reading_dirty(
        &self,
        range: IovaRange,
        page: Granule,
        words: &mut [u64],
        notices: &mut Notices<'_>,
    ) -> Result<u64, KernelError>;
}

/// An address space of a [`SpaceDriver`]: holds the memory that is mapped in it until the kernel has
/// confirmed the unmap.
///
/// Cloning gives another handle. When the last one is gone, and something is still recorded, the
/// kernel may still reach it: it is kept for good, and counted
/// ([`Leaks::memories`](crate::Leaks::memories)).
#[derive(Clone)]
pub struct Space {
    inner: Arc<SpaceInner>,
}

/// # Invariants
/// `ledger` records all memory that the kernel may reach by way of `driver`, and lets go of it only
/// after the kernel's confirmation.
struct SpaceInner {
    ledger: Ledger,
    /// Where maps are under way.
    under_way: UnderWay,
    driver: Arc<dyn SpaceDriver>,
}

impl Space {
    /// An empty address space.
    ///
    /// # Safety
    /// Nothing else maps memory by way of what `driver` stands for.
    #[must_use]
    pub unsafe fn new(driver: Arc<dyn SpaceDriver>) -> Self {
        Self {
            inner: Arc::new(SpaceInner {
                ledger: Ledger::default(),
                under_way: UnderWay::default(),
                driver,
            }),
        }
    }

    /// Maps memory at `iova`.
    ///
    /// # Errors
    /// The driver's; [`Error::LockedMemory`] for its `ENOMEM`; `EOVERFLOW`: the end passes the
    /// address space's; [`Error::Empty`]; [`Error::Forked`].
    pub fn map_at(
        &self,
        iova: Iova,
        memory: impl Into<DmaSlice>,
        access: Access,
    ) -> Result<SpaceMapping> {
        let memory = memory.into();
        let inner = &self.inner;
        inner.watch().check_process()?;
        let range = range_of(iova, &memory)?;
        let _under_way = inner.under_way.at(range);
        inner.map_at(range, &memory, access)
    }

    /// Unmaps everything that was mapped by way of this address space. Returns how many bytes that
    /// was. Guards stay, emptied.
    ///
    /// # Errors
    /// [`Error::PartlyUnmapped`] if the kernel kept something; [`Error::Forked`].
    pub fn unmap_all(&self) -> Result<u64> {
        self.inner.unmap_within(IovaRange::ALL)
    }

    /// Unmaps all that lies in `range`. Returns how many bytes that was.
    ///
    /// # Errors
    /// [`Error::PartlyCovered`], with nothing done, if a mapping lies in the range only in part;
    /// [`Error::NothingMapped`]; else as for [`unmap_all`](Self::unmap_all).
    pub fn unmap_range(&self, range: IovaRange) -> Result<u64> {
        match self.inner.unmap_within(range)? {
            0 => Err(Error::NothingMapped { range }),
            bytes => Ok(bytes),
        }
    }

    /// How much is mapped. Nothing, in a child of a fork.
    #[must_use]
    pub fn mapped(&self) -> Mapped {
        if self.inner.watch().check_process().is_err() {
            // A thread that a child of a fork has not may have the ledger locked.
            return Mapped::default();
        }
        let (mappings, bytes) = self.inner.ledger.totals();
        Mapped { mappings, bytes }
    }

    /// Does `change` while nothing is mapped or unmapped, and with nothing under way. If it says so
    /// the kernel has unmapped everything by itself.
    ///
    /// # Errors
    /// [`Error::Forked`], with nothing done.
    ///
    /// # Safety
    /// If `change` answers [`Emptied::Yes`], the kernel has nothing mapped, and no device reaches
    /// what was.
    pub unsafe fn exclusively<R>(
        &self,
        change: impl FnOnce(&mut Notices<'_>) -> (R, Emptied),
    ) -> Result<R> {
        let inner = &*self.inner;
        inner.watch().check_process()?;
        // Dropped last, and before it the notices: so an observer hears of things in their order.
        let mut released: Vec<Held> = Vec::new();
        let mut notices = inner.watch().notices();
        let exclusive = inner.ledger.exclusive();
        let (result, emptied) = change(&mut notices);
        if emptied == Emptied::Yes {
            let entries = exclusive.touching(IovaRange::ALL);
            released.extend(entries.iter().map(|(key, _)| exclusive.emptied(key)));
        }
        drop(exclusive);
        drop(notices);
        Ok(result)
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space")
            .field("driver", &self.inner.driver)
            .finish_non_exhaustive()
    }
}

/// Whether the kernel has unmapped everything by itself: see [`Space::exclusively`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptied {
    /// It has.
    Yes,
    /// It has not, or nobody knows.
    No,
}

impl SpaceInner {
    fn watch(&self) -> &Watch {
        self.driver.watch()
    }

    /// Maps memory at `range`, which is as long, in the process of the driver's.
    fn map_at(
        self: &Arc<Self>,
        range: IovaRange,
        memory: &DmaSlice,
        access: Access,
    ) -> Result<SpaceMapping> {
        // Asked of the memory, which is the user's code, before the ledger knows of the map.
        memory.memory().check_process()?;
        let address = memory.address();
        // Dropped after the notices: so an observer hears of things in their order.
        let _released: Held;
        let mut notices = self.watch().notices();
        let held = Held::Memory(Arc::clone(memory.memory()));
        let entry = self.ledger.begin_map(held);
        // SAFETY: the ledger has an entry with the memory, and keeps it until the driver, whose
        // trait promises that it is true, has said that the mapping is gone. `DmaMemory` promises
        // that memory which is alive stays mapped at its address, uncovered by references; the
        // slice lies within it.
        match unsafe { self.driver.map(range, address, access, &mut notices) } {
            Ok(()) => {
                let kept = self.ledger.mapped(&entry, range);
                self.watch().memories_stay(kept);
                Ok(SpaceMapping {
                    space: Arc::clone(self),
                    entry: Some(entry),
                    range,
                })
            }
            Err(refused) => {
                _released = self.ledger.not_mapped(entry);
                Err(match refused.errno {
                    Errno::NOMEM => {
                        let len = memory.len() as u64;
                        watch::out_of_memory(refused.operation, len, Accounting::PerProcess)
                    }
                    _ => refused.into(),
                })
            }
        }
    }
}

/// Where memory is that begins at `iova`.
fn range_of(iova: Iova, memory: &DmaSlice) -> Result<IovaRange> {
    match memory.len() as u64 {
        0 => Err(Error::Empty { what: "mapping" }),
        len => IovaRange::with_len(iova, len).ok_or_else(past_the_end),
    }
}

/// A mapping whose last byte has no address.
fn past_the_end() -> Error {
    let cause = "the end of the mapping passes the end of the address space";
    KernelError::new("map", Errno::OVERFLOW, cause).into()
}

impl Drop for SpaceInner {
    fn drop(&mut self) {
        if self.watch().check_process().is_err() {
            // What is held is the parent's to release, and a thread that the child has not may have
            // the ledger locked.
            return;
        }
        let held = self.ledger.drain();
        if !held.is_empty() {
            self.watch().memories_stay(held.len());
            let _kept = ManuallyDrop::new(held);
        }
    }
}

/// One mapping in a [`Space`]: unmapped when dropped. It holds its address space.
///
/// # Invariants
/// `entry` is this mapping's in the ledger of `space`, until it is unmapped.
#[must_use = "dropping a mapping unmaps it"]
pub struct SpaceMapping {
    space: Arc<SpaceInner>,
    entry: Option<EntryKey>,
    range: IovaRange,
}

impl SpaceMapping {
    /// All the addresses.
    #[must_use]
    pub fn range(&self) -> IovaRange {
        self.range
    }

    /// Whether it is in `space`.
    #[must_use]
    pub fn is_in(&self, space: &Space) -> bool {
        Arc::ptr_eq(&self.space, &space.inner)
    }

    /// Unmaps it. On return no device reaches the memory through it any more.
    ///
    /// # Errors
    /// The driver's, with the mapping as it was; [`Error::Forked`].
    pub fn unmap(mut self) -> Result<(), Refused<Self>> {
        match self.undo() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    fn undo(&mut self) -> Result<()> {
        let unmap = |driver: &dyn SpaceDriver, range, notices: &mut Notices<'_>| {
            driver.unmap(range, notices).map_err(Error::from)
        };
        self.undo_by(unmap)
    }

    /// Unmaps it, by `unmap` if nothing else is recorded in its place.
    fn undo_by(
        &mut self,
        unmap: impl FnOnce(&dyn SpaceDriver, IovaRange, &mut Notices<'_>) -> Result<u64>,
    ) -> Result<()> {
        let Some(entry) = self.entry.take() else {
            return Ok(());
        };
        let result = self.space.unmap_entry(entry, unmap);
        result.map_err(|(entry, error)| {
            self.entry = Some(entry);
            error
        })
    }
}

impl Drop for SpaceMapping {
    fn drop(&mut self) {
        match self.undo() {
            Ok(()) | Err(Error::Forked) => {}
            Err(error) => self.space.watch().mapping_stays(&error),
        }
    }
}

impl fmt::Debug for SpaceMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpaceMapping")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
