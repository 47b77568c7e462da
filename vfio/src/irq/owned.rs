//! A vector that is kept: for another thread, or for an event loop.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::bound::Bound;
use crate::error::Result;
use crate::eventfd;
use crate::irq::enabled::Enabled;

/// One interrupt vector, by [`Interrupts::owned`](crate::Interrupts::owned): as a
/// [`Vector`](crate::Vector), but it can be kept.
///
/// It shares the enabled interrupts with the [`Interrupts`](crate::Interrupts) that it is one of:
/// they are disabled when the last of them all is dropped.
///
/// # System calls
/// `read` and `ppoll` to wait; `VFIO_DEVICE_SET_IRQS` when the last is dropped.
#[must_use = "dropping the last handle of the interrupts disables them"]
pub struct OwnedVector {
    // Disabled before the eventfd is closed.
    enabled: Arc<Enabled>,
    vector: u32,
    eventfd: Arc<OwnedFd>,
}

impl OwnedVector {
    pub(super) fn new(enabled: Arc<Enabled>, vector: u32, eventfd: Arc<OwnedFd>) -> Self {
        Self {
            enabled,
            vector,
            eventfd,
        }
    }

    /// Which vector it is.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.vector
    }

    /// As [`Vector::wait`](crate::Vector::wait).
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`]; `ENOMEM`.
    pub fn wait(&self, timeout: Duration) -> Result<Option<u64>> {
        eventfd::wait(self.bound(), self.as_fd(), timeout)
    }

    /// As [`Vector::take`](crate::Vector::take).
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`].
    pub fn take(&self) -> Result<Option<u64>> {
        eventfd::take(self.bound(), self.as_fd())
    }

    pub(crate) fn bound(&self) -> &Bound {
        self.enabled.bound()
    }
}

impl AsFd for OwnedVector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

impl fmt::Debug for OwnedVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedVector")
            .field("number", &self.vector)
            .finish_non_exhaustive()
    }
}
