//! Low-power states of a device that is not used.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use iommufd_sys::vfio as sys;

use crate::bound::Bound;
use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
use crate::eventfd;
use crate::feature::{FeatureError, Guarded};
use crate::gate::Revocation;
use crate::holders::{Hold, Kind};
use crate::ioctl::feature::Bare;
use crate::switches;

/// A device that may go into a low-power state: until this is dropped.
///
/// Whether it does is the platform's to decide, and nothing tells. Meanwhile its mapped registers
/// cannot be accessed ([`Error::Revoked`] with [`Revocation::LowPower`]), and what was exported of them
/// is revoked. Everything else that is asked of the device, such as an access of a
/// [`Region`](crate::Region), wakes it up first, and afterwards it may go back.
///
/// It holds the device open. Dropping it wakes the device up, which can take a while;
/// [`exit`](Self::exit) does the same, and tells.
///
/// ```no_run
/// # fn example(device: &vfio::Device) -> vfio::Result<()> {
/// let low_power = device.low_power()?;
/// // … for as long as nobody needs the device …
/// low_power.exit()?;
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `VFIO_DEVICE_FEATURE`.
///
/// Since Linux 6.1.
///
/// # Invariants
/// Until `over`, the claim is this guard's, and the gate is closed for it.
#[must_use = "dropping it wakes the device up"]
pub struct LowPower {
    hold: Hold,
    over: bool,
}

impl LowPower {
    fn enter(device: &OpenDevice, ask: impl FnOnce(&Bound) -> Result<()>) -> Result<Self> {
        let hold = Hold::new(device.bound(), Kind::Feature);
        let bound = hold.bound();
        bound.claims.take(Guarded::LowPower)?;
        match Self::engage(bound, ask) {
            // INVARIANT: it has just been claimed, and the gate stays closed.
            Ok(()) => Ok(Self { hold, over: false }),
            Err(error) => {
                bound.claims.release(Guarded::LowPower);
                Err(error)
            }
        }
    }

    fn engage(bound: &Bound, ask: impl FnOnce(&Bound) -> Result<()>) -> Result<()> {
        // The kernel takes the registers away: whoever is at them goes first.
        let closed = bound.close_gate(Revocation::LowPower)?;
        match ask(bound) {
            Ok(()) => {
                closed.stay_closed();
                Ok(())
            }
            // Then it has not even begun.
            Err(error @ Error::Feature(FeatureError::NotThere { .. })) => {
                closed.cancel();
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Wakes the device up for good.
    ///
    /// # Errors
    /// The kernel's refusal, with the state as it was: `EIO`: the device could not be woken up.
    /// [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT")]
    pub fn exit(mut self) -> Result<(), Refused<Self>> {
        match self.end() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    fn end(&mut self) -> Result<()> {
        if !self.over {
            let bound = self.hold.bound();
            bound.set_bare_feature(Bare::LowPowerExit)?;
            self.over = true;
            // A function that was put into D3 before has come back in D0, if it was suspended.
            switches::after_reset(self.hold.shared());
            bound.gate.open(Revocation::LowPower);
            bound.claims.release(Guarded::LowPower);
        }
        Ok(())
    }
}

impl Drop for LowPower {
    fn drop(&mut self) {
        // After a refusal the registers stay revoked, and there is no other guard, until the device is
        // closed.
        let ended = self.end();
        eventfd::refused_drop(self.hold.bound(), "low power", ended);
    }
}

impl fmt::Debug for LowPower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LowPower").finish_non_exhaustive()
    }
}

/// A device that may go into a low-power state until something wakes it up: [`LowPower`] that ends by
/// itself, and tells.
///
/// Once the device has been woken up (by itself, as a network card is by a packet; by the host; or by an
/// access of a [`Region`](crate::Region) and the like) it does not go back. Its mapped registers stay
/// [revoked](Error::Revoked) until [`exit`](Self::exit), or the drop.
///
/// As a file (`AsFd`) it is readable when the device has been woken up, for an event loop. A device
/// that had not gone into a low-power state is not woken up, and nothing is told.
#[must_use = "dropping it wakes the device up"]
pub struct LowPowerUntilWoken {
    low_power: LowPower,
    eventfd: OwnedFd,
}

impl LowPowerUntilWoken {
    /// Waits until the device has been woken up, at most `timeout`; whether it has been.
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`]; `ENOMEM`.
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        let bound = self.low_power.hold.bound();
        eventfd::wait(bound, self.eventfd.as_fd(), timeout).map(|count| count.is_some())
    }

    /// Wakes the device up for good, if it has not been; registers can be accessed again.
    ///
    /// # Errors
    /// As for [`LowPower::exit`].
    pub fn exit(self) -> Result<(), Refused<Self>> {
        let Self { low_power, eventfd } = self;
        low_power.exit().map_err(|refused| {
            let (low_power, error) = refused.into_parts();
            Refused::new(Self { low_power, eventfd }, error)
        })
    }
}

impl AsFd for LowPowerUntilWoken {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

impl fmt::Debug for LowPowerUntilWoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LowPowerUntilWoken").finish_non_exhaustive()
    }
}

/// Low power.
impl OpenDevice {
    /// Lets the device go into a low-power state whenever nobody asks anything of it.
    ///
    /// Since Linux 6.1.
    ///
    /// # Errors
    /// [`FeatureError::NotThere`]: it is no PCI function, or the kernel is older.
    /// [`FeatureError::Taken`]: there is a guard already. `EINVAL`: somebody else with the same file has
    /// let it do so. [`Error::AccessHeld`]: this thread holds an access of the registers.
    /// [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY")]
    pub fn low_power(&self) -> Result<LowPower> {
        LowPower::enter(self, |bound| bound.set_bare_feature(Bare::LowPower))
    }

    /// Lets the device go into a low-power state until something wakes it up.
    ///
    /// Since Linux 6.1.
    ///
    /// # Errors
    /// As for [`low_power`](Self::low_power); `EMFILE`: too many open files.
    #[doc(alias = "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP")]
    pub fn low_power_until_woken(&self) -> Result<LowPowerUntilWoken> {
        let eventfd = eventfd::create()?;
        let arg = sys::vfio_device_low_power_entry_with_wakeup {
            wakeup_eventfd: eventfd.as_raw_fd(),
            reserved: 0,
        };
        let low_power = LowPower::enter(self, |bound| bound.set_feature(&arg))?;
        Ok(LowPowerUntilWoken { low_power, eventfd })
    }
}

#[cfg(test)]
mod tests;
