//! What goes with every open file of the kernel's: whose process it is, who watches, and what the
//! kernel has kept.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use iommufd_sys::ioctl::Ioctl;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::error::{Accounting, Error, MemlockLimit, Result};
use crate::fork::Process;
use crate::observe::{DropRefusal, IoctlEvent, Leaks, Observer, tell};

/// Which process an open file belongs to, who hears of its ioctls, and what the kernel would not
/// let go of.
///
/// A context has one ([`Iommufd::watch`](crate::Iommufd::watch)); a driver whose device is in no
/// context makes its own.
pub struct Watch {
    process: Process,
    observer: Option<Arc<dyn Observer>>,
    leaks: LeakCounters,
}

impl Watch {
    /// One for this process, from which `observer` hears of every ioctl.
    #[must_use]
    pub fn new(observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            process: Process::current(),
            observer,
            leaks: LeakCounters::default(),
        }
    }

    /// Whether this is the process that it was made in.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child of it.
    #[inline]
    pub fn check_process(&self) -> Result<()> {
        self.process.check()
    }

    /// Whether an observer is set: without one, nobody needs the time of a call.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Tells the observer of an ioctl; call it with no lock held.
    pub fn observe(&self, event: &IoctlEvent) {
        if let Some(observer) = &self.observer {
            tell(&**observer, |observer| observer.ioctl(event));
        }
    }

    /// Counts, and tells the observer of, an object that a drop could not let go of; call it with
    /// no lock held.
    pub fn refused_drop(&self, object: &'static str, error: &Error) {
        self.leaks.objects.fetch_add(1, Ordering::Relaxed);
        self.report(object, error);
    }

    /// What the kernel would not let go of, so far.
    #[must_use]
    pub fn leaks(&self) -> Leaks {
        self.leaks.read()
    }

    /// A place for what the observer shall hear. Make it *before* taking a lock: it is then
    /// dropped, and delivers, after the lock is released.
    #[inline]
    #[must_use]
    pub fn notices(&self) -> Notices<'_> {
        Notices {
            watch: self,
            events: Vec::new(),
        }
    }

    /// Runs one ioctl, timed and noted if anybody wants to know.
    #[inline]
    pub(crate) fn noted<T, R>(
        &self,
        ioctl: &Ioctl<T>,
        notices: &mut Notices<'_>,
        call: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        if self.observer.is_none() {
            return call();
        }
        self.timed(ioctl, notices, call)
    }

    /// Runs one ioctl with no lock held: the observer hears of it at once.
    #[inline]
    pub(crate) fn told<T, R>(
        &self,
        ioctl: &Ioctl<T>,
        call: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        if self.observer.is_none() {
            return call();
        }
        self.timed(ioctl, &mut self.notices(), call)
    }

    /// Runs one ioctl for the observer.
    #[cold]
    fn timed<T, R>(
        &self,
        ioctl: &Ioctl<T>,
        notices: &mut Notices<'_>,
        call: impl FnOnce() -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        let begin = Instant::now();
        let result = call();
        let elapsed = begin.elapsed();
        let answer = result.as_ref().map(drop).map_err(|errno| *errno);
        notices.note(IoctlEvent::new(ioctl.describe(), answer, elapsed));
        result
    }

    /// Counts and reports a mapping that a drop could not undo.
    pub(crate) fn mapping_stays(&self, error: &Error) {
        self.leaks.mappings.fetch_add(1, Ordering::Relaxed);
        self.report("mapping", error);
    }

    /// Counts memory that is kept for good.
    #[inline]
    pub(crate) fn memories_stay(&self, count: usize) {
        if count == 0 {
            return;
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.leaks.memories.fetch_add(count, Ordering::Relaxed);
    }

    fn report(&self, object: &'static str, error: &Error) {
        if let Some(observer) = &self.observer {
            tell(&**observer, |observer| {
                observer.refused_drop(&DropRefusal { object, error });
            });
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("observed", &self.is_observed())
            .field("leaks", &self.leaks())
            .finish_non_exhaustive()
    }
}

/// The error of an `operation` that could not pin `needed` bytes, which count as `accounting` says.
pub(crate) fn out_of_memory(operation: &'static str, needed: u64, accounting: Accounting) -> Error {
    Error::LockedMemory {
        operation,
        needed,
        limit: match getrlimit(Resource::Memlock).current {
            Some(bytes) => MemlockLimit::Bytes(bytes),
            None => MemlockLimit::Unlimited,
        },
        accounting,
    }
}

/// Ioctls that were made under a lock, told to the observer when this is dropped: after the lock.
pub struct Notices<'w> {
    watch: &'w Watch,
    events: Vec<IoctlEvent>,
}

impl Notices<'_> {
    /// Adds an ioctl that a driver has made.
    pub fn note(&mut self, event: IoctlEvent) {
        if self.watch.observer.is_some() {
            self.events.push(event);
        }
    }
}

impl Drop for Notices<'_> {
    #[inline]
    fn drop(&mut self) {
        for event in &self.events {
            self.watch.observe(event);
        }
    }
}

impl fmt::Debug for Notices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notices").field(&self.events).finish()
    }
}

#[derive(Default)]
struct LeakCounters {
    objects: AtomicU64,
    mappings: AtomicU64,
    memories: AtomicU64,
}

impl LeakCounters {
    fn read(&self) -> Leaks {
        Leaks {
            objects: self.objects.load(Ordering::Relaxed),
            mappings: self.mappings.load(Ordering::Relaxed),
            memories: self.memories.load(Ordering::Relaxed),
        }
    }
}
