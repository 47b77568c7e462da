//! Watching what the SDK asks of the kernel: one place sees every ioctl.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use iommufd_sys::ioctl::Description;
use rustix::io::Errno;

use crate::error::Error;

/// One ioctl that was made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IoctlEvent {
    /// Which one: name, number, first release.
    pub ioctl: Description,
    /// What the kernel answered.
    pub result: Result<(), Errno>,
    /// How long the call took.
    pub elapsed: Duration,
}

impl IoctlEvent {
    /// An ioctl that a driver has made on a file of its own.
    #[must_use]
    pub fn new(ioctl: Description, result: Result<(), Errno>, elapsed: Duration) -> Self {
        Self {
            ioctl,
            result,
            elapsed,
        }
    }
}

/// A destroy, unmap, detach, stop of dirty tracking, or answer to page requests that the kernel
/// refused while a handle was dropped.
///
/// A drop cannot return an error, so the object is kept, with the memory it may still reach, and
/// counted in [`Leaks`]. The explicit forms (`unmap`, `detach`, `try_destroy`) give the handle
/// back instead.
#[derive(Debug)]
#[non_exhaustive]
pub struct DropRefusal<'a> {
    /// The kind of object that stays.
    pub object: &'static str,
    /// Why.
    pub error: &'a Error,
}

/// Sees every ioctl of a context, and every refusal that a drop had to swallow.
///
/// Called on the thread that made the call, after it, while no lock of the SDK is held: an
/// observer may use the SDK itself. If it panics, the panic ends here: what the SDK is in the
/// middle of goes on. (What it panicked with is leaked, if it is no text.)
pub trait Observer: Send + Sync + 'static {
    /// An ioctl has returned.
    fn ioctl(&self, event: &IoctlEvent) {
        let _ = event;
    }

    /// The kernel refused what a drop asked for.
    fn refused_drop(&self, refusal: &DropRefusal<'_>) {
        let _ = refusal;
    }
}

/// What the kernel would not let go of, so far, in one context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaks {
    /// Objects whose destroy, attachments whose detach, dirty trackings whose stop, and groups of page
    /// requests whose answer was refused in a drop.
    pub objects: u64,
    /// Mappings whose unmap was refused in a drop, and maps that the kernel answered with `EFAULT`, of
    /// which it may have kept the mapping; their memory is kept until the IOAS goes.
    pub mappings: u64,
    /// Pieces of memory that are kept for good, as their IOAS could not be destroyed, or as they may
    /// have been copied in the place of another mapping.
    pub memories: u64,
}

/// Tells an observer, and goes on if it panics: half-done bookkeeping would let go of memory too
/// early, or destroy an id twice.
pub(crate) fn tell(observer: &dyn Observer, news: impl FnOnce(&dyn Observer)) {
    // Nothing of the SDK's is shared with the observer but what it is told, by reference.
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| news(observer))) else {
        return;
    };
    if !payload.is::<&'static str>() && !payload.is::<String>() {
        // A value of the observer's own, whose drop could panic in its turn: that would go on from
        // here as if nothing had been caught. It is leaked.
        let _kept = ManuallyDrop::new(payload);
    }
}
