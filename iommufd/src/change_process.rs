//! Moving what is mapped to the process that is to go on with it.

use std::sync::{Arc, Weak};

use iommufd_sys::ioctl::SizedArg;
use iommufd_sys::ioctl::iommufd as nr;
use iommufd_sys::iommufd as sys;
use parking_lot::Mutex;
use rustix::io::Errno;

use crate::address::IovaRange;
use crate::context::Iommufd;
use crate::error::{Error, Result};
use crate::ledger::Ledger;

impl Iommufd {
    /// Makes this process the one for which all pinned memory of the kernel's context counts,
    /// whoever has mapped it; for all address spaces, or for none.
    ///
    /// For a process that takes over from another, as in a live update: it is handed the file,
    /// makes a context of it by [`from_fd`](Self::from_fd), and calls this. DMA goes on meanwhile.
    /// The kernel must know all that is mapped by a memfd: see
    /// [`DmaBuffer::memfd`](crate::DmaBuffer::memfd) and [`Ioas::map_file`](crate::Ioas::map_file).
    /// Objects are not handed over with it: the SDK in this process knows those that it has made.
    ///
    /// The other process must not have ended yet. (Linux 7.3 moves everything all the same, but
    /// where memory counts for each process it warns in its log, and answers `EINVAL`.) Where
    /// memory counts for the user, it counts twice for a moment.
    ///
    /// Waits until no object of the context is being destroyed, and lets no drop destroy one
    /// meanwhile: the kernel holds all address spaces for it.
    ///
    /// ```no_run
    /// # fn example(handed_over: std::os::fd::OwnedFd) -> iommufd::Result<()> {
    /// use iommufd::Iommufd;
    ///
    /// let iommufd = Iommufd::from_fd(handed_over)?;
    /// iommufd.change_process()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # System calls
    /// `IOMMU_IOAS_CHANGE_PROCESS`.
    ///
    /// Since Linux 6.14.
    ///
    /// # Errors
    /// [`Error::CannotMove`] (`EINVAL`) names a mapping that the kernel does not know by a memfd;
    /// `EINVAL` alone if it is none of this handle's. `EBUSY`: a map, copy or unmap is under way.
    /// [`Error::LockedMemory`] (`ENOMEM`), where `needed` is what is mapped through this handle: 0
    /// for a process that takes over.
    /// [`Error::Unsupported`] before Linux 6.14. [`Error::Forked`]: a child of a fork makes a
    /// context of its own of the file.
    #[doc(alias = "IOMMU_IOAS_CHANGE_PROCESS")]
    pub fn change_process(&self) -> Result<()> {
        let mut arg = sys::iommu_ioas_change_process::sized();
        let context = self.context();
        let answer = context.call_past_bystanders(&nr::IOAS_CHANGE_PROCESS, &mut arg);
        answer.map_err(|error| match error {
            Error::Kernel(refused) if refused.errno == Errno::NOMEM => {
                context.out_of_memory(refused.operation, context.ledgers.bytes())
            }
            Error::Kernel(refused) if refused.errno == Errno::INVAL => {
                match context.ledgers.first_that_cannot_move() {
                    Some(mapping) => Error::CannotMove { mapping },
                    // Somebody else's, or gone by now.
                    None => refused.into(),
                }
            }
            error => error,
        })
    }
}

/// The ledgers of all address spaces of a context. These hold the context, so it does not hold
/// them.
#[derive(Default)]
pub(crate) struct Ledgers {
    known: Mutex<Vec<Weak<Ledger>>>,
}

impl Ledgers {
    /// A ledger for a new address space.
    pub(crate) fn add(&self) -> Arc<Ledger> {
        let ledger = Arc::default();
        let mut known = self.known.lock();
        known.retain(|ledger| ledger.strong_count() > 0);
        known.push(Arc::downgrade(&ledger));
        ledger
    }

    fn first_that_cannot_move(&self) -> Option<IovaRange> {
        let known = self.known.lock();
        let mut alive = known.iter().filter_map(Weak::upgrade);
        alive.find_map(|ledger| ledger.first_that_cannot_move())
    }

    /// How many bytes are mapped.
    fn bytes(&self) -> u64 {
        let known = self.known.lock();
        let alive = known.iter().filter_map(Weak::upgrade);
        alive.fold(0, |bytes: u64, ledger| {
            bytes.saturating_add(ledger.totals().1)
        })
    }
}
