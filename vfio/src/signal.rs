//! What the kernel tells the user of a device, besides the interrupts of the device itself.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;

use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
use crate::eventfd;
use crate::holders::{Hold, Kind};

/// What the kernel tells the user of a PCI function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalKind {
    /// Somebody wants the device back: it is being unplugged, or taken away from its driver. That
    /// waits, without an end, until the device is closed; it is told again every 10 seconds.
    #[doc(alias = "VFIO_PCI_REQ_IRQ_INDEX")]
    Request,
    /// The device has failed: PCI Express has reported an error that cannot be corrected.
    #[doc(alias = "VFIO_PCI_ERR_IRQ_INDEX")]
    Error,
}

impl SignalKind {
    fn index(self) -> u32 {
        match self {
            Self::Request => sys::VFIO_PCI_REQ_IRQ_INDEX,
            Self::Error => sys::VFIO_PCI_ERR_IRQ_INDEX,
        }
    }

    fn bit(self) -> u32 {
        match self {
            Self::Request => 1 << 0,
            Self::Error => 1 << 1,
        }
    }
}

impl fmt::Display for SignalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Error => "error",
        })
    }
}

/// What the kernel tells of a device, as an eventfd: told until it is dropped.
///
/// There is one of each kind for a device at most; they have nothing to do with its
/// [`Interrupts`](crate::Interrupts). As a file (`AsFd`) it is readable when there is something to
/// tell, for an event loop.
///
/// It holds the device open, so whoever answers a [`Request`](SignalKind::Request) drops it with
/// all else that is made of the device:
///
/// ```no_run
/// # fn example(device: vfio::Device, attachment: iommufd::Attachment) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use vfio::SignalKind;
///
/// let request = device.signal(SignalKind::Request)?;
/// // … use the device …
/// if request.wait(Duration::MAX)?.is_some() {
///     // Interrupts and mappings of registers go first, of whoever has them.
///     attachment.detach()?;
///     drop(request);
///     device.try_close()?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// Since Linux 6.6 (by the character device).
///
/// # System calls
/// `eventfd2` and `VFIO_DEVICE_SET_IRQS` to enable it, the last of these to disable it; `read` and
/// `ppoll` to wait.
///
/// # Invariants
/// While `enabled`, the kernel signals the eventfd, and `kind` is claimed.
#[must_use = "dropping a signal disables it"]
pub struct Signal {
    hold: Hold,
    kind: SignalKind,
    eventfd: OwnedFd,
    enabled: bool,
}

impl Signal {
    /// Has the kernel tell of `device`: the same as [`OpenDevice::signal`].
    ///
    /// # Errors
    /// [`Error::SignalEnabled`], before the kernel is asked. `EINVAL`: the device's driver tells
    /// nothing of this kind. `EMFILE`: too many open files. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_SET_IRQS")]
    pub fn enable(device: &OpenDevice, kind: SignalKind) -> Result<Self> {
        let hold = Hold::new(device.bound(), Kind::Signal);
        let bound = hold.bound();
        bound.iommufd().check_process()?;
        let eventfd = eventfd::create()?;
        let mut arg = eventfd::request(kind.index(), slice::from_ref(&eventfd))?;
        // The kernel would put one eventfd in the place of another.
        bound.signals.claim(kind)?;
        if let Err(error) = bound.sized(&nr::DEVICE_SET_IRQS, &mut arg) {
            bound.signals.release(kind);
            return Err(error);
        }
        // INVARIANT: the kernel has just enabled it.
        Ok(Self {
            hold,
            kind,
            eventfd,
            enabled: true,
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> SignalKind {
        self.kind
    }

    /// Waits until the kernel tells, at most `timeout`. Returns how often it has told since it was
    /// last asked for, or `None` when the time is over.
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`]; `ENOMEM`.
    pub fn wait(&self, timeout: Duration) -> Result<Option<u64>> {
        eventfd::wait(self.hold.bound(), self.eventfd.as_fd(), timeout)
    }

    /// How often the kernel has told since it was last asked for, without waiting; `None` if it has
    /// not.
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`].
    pub fn take(&self) -> Result<Option<u64>> {
        eventfd::take(self.hold.bound(), self.eventfd.as_fd())
    }

    /// Has the kernel tell nothing any more.
    ///
    /// # Errors
    /// The kernel's refusal, with the signal as it was; [`iommufd::Error::Forked`].
    pub fn disable(mut self) -> Result<(), Refused<Self>> {
        match self.stop() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    fn stop(&mut self) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        let mut arg = eventfd::request(self.kind.index(), &[])?;
        let bound = self.hold.bound();
        bound.sized(&nr::DEVICE_SET_IRQS, &mut arg)?;
        self.enabled = false;
        bound.signals.release(self.kind);
        Ok(())
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        // After a refusal it counts as enabled, and goes when the device is closed.
        let disabled = self.stop();
        eventfd::refused_drop(self.hold.bound(), "signal", disabled);
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Which kinds of signals are enabled, or are being enabled or disabled. Bits, not a lock: none is
/// held across the ioctl, and a child of a fork can ask.
#[derive(Debug, Default)]
pub(crate) struct EnabledSignals(AtomicU32);

impl EnabledSignals {
    fn claim(&self, kind: SignalKind) -> Result<()> {
        match self.0.fetch_or(kind.bit(), Ordering::AcqRel) & kind.bit() {
            0 => Ok(()),
            _ => Err(Error::SignalEnabled { kind }),
        }
    }

    fn release(&self, kind: SignalKind) {
        self.0.fetch_and(!kind.bit(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_claimed_by_itself() {
        let enabled = EnabledSignals::default();
        enabled.claim(SignalKind::Request).unwrap();
        enabled.claim(SignalKind::Error).unwrap();
        let refused = enabled.claim(SignalKind::Request);
        assert!(matches!(
            refused,
            Err(Error::SignalEnabled {
                kind: SignalKind::Request
            })
        ));
        enabled.release(SignalKind::Request);
        assert!(enabled.claim(SignalKind::Error).is_err());
        enabled.claim(SignalKind::Request).unwrap();
    }

    #[test]
    fn kinds_have_names() {
        let names = [SignalKind::Request, SignalKind::Error].map(|kind| kind.to_string());
        assert_eq!(names, ["request", "error"]);
    }
}
