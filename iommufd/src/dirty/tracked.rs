//! A page table that is tracked, and those that are in one address space.

use std::sync::{Arc, Weak};

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use parking_lot::Mutex;

use super::scratch::Scratch;
use crate::error::{Error, Result};
use crate::paging::{Options, PagingTable};

/// A page table that is tracked. Its guard holds it, and who reads it for the moment.
pub(crate) struct Tracked {
    pub(super) table: Arc<PagingTable>,
    /// Of the last read, for the next. Who reads at the same time makes one of their own.
    spare: Mutex<Option<Box<Scratch>>>,
}

impl Tracked {
    /// Takes `table` for a guard: there is one at a time.
    pub(super) fn claim(table: &Arc<PagingTable>) -> Result<Arc<Self>> {
        if !table.options().contains(Options::DIRTY_TRACKING) {
            return Err(Error::NotTrackable);
        }
        let tracked = Arc::new(Self {
            table: Arc::clone(table),
            spare: Mutex::new(None),
        });
        if table.ioas().inner.tracked().add(&tracked) {
            Ok(tracked)
        } else {
            Err(Error::AlreadyTracked)
        }
    }

    /// Gives the table free for another guard.
    pub(super) fn release(&self) {
        self.table.ioas().inner.tracked().remove(self);
    }

    /// Makes the kernel record, or no longer.
    pub(super) fn enable(&self, enable: bool) -> Result<()> {
        let mut arg = sys::iommu_hwpt_set_dirty_tracking::sized();
        arg.hwpt_id = self.table.id();
        arg.flags = match enable {
            true => sys::IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
            false => 0,
        };
        let context = self.table.iommufd().context();
        context.call(&nr::HWPT_SET_DIRTY_TRACKING, &mut arg)
    }

    pub(super) fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = self.spare.lock().take().unwrap_or_default();
        let result = work(&mut scratch);
        let _other = self.spare.lock().replace(scratch);
        result
    }
}

/// The tracked tables of an address space.
#[derive(Default)]
pub(crate) struct TrackedTables {
    /// By the id of the table, which stays as long as a guard keeps the table.
    tables: Mutex<Vec<(u32, Weak<Tracked>)>>,
}

impl TrackedTables {
    /// Adds a table, if it is not there yet.
    fn add(&self, tracked: &Arc<Tracked>) -> bool {
        let id = tracked.table.id();
        let mut tables = self.tables.lock();
        let new = tables.iter().all(|(other, _)| *other != id);
        if new {
            tables.push((id, Arc::downgrade(tracked)));
        }
        new
    }

    fn remove(&self, tracked: &Tracked) {
        let id = tracked.table.id();
        self.tables.lock().retain(|(other, _)| *other != id);
    }

    /// All of them. To be dropped where no lock is held: a table can go with it.
    pub(super) fn all(&self) -> Vec<Arc<Tracked>> {
        let tables = self.tables.lock();
        tables
            .iter()
            .filter_map(|(_, table)| table.upgrade())
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.lock().is_empty()
    }
}
