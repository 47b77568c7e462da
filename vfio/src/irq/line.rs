//! The interrupts of devices that are no PCI functions, each by itself.
//!
//! Of such devices the lab has a platform device, on Arm. What is asked of the kernel for the others is
//! checked byte by byte, and what it answers is read off its drivers (`vfio-amba`, `vfio-fsl-mc`,
//! `vfio-cdx`, `vfio_ap` and `vfio_ccw` of Linux 7.3).

#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::bound::Bound;
use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
use crate::eventfd;
use crate::holders::{Hold, Kind};
use crate::irq::set::{self, Action, Which};
use crate::irq::wire::Wire;
use crate::irq::{IrqFlags, IrqIndex, IrqInfo};

/// One enabled interrupt of a device that is no PCI function, as an eventfd: disabled when dropped. It
/// has nothing to do with the others of the device.
///
/// A level-triggered line of a platform device stays up until the device has been told that its
/// interrupt is handled. So the kernel masks it whenever it fires
/// ([`IrqFlags::AUTOMASKED`]): whoever has handled it [unmasks](Self::unmask) it, and without that it
/// never fires again. All others are messages or edges: they fire, and that is all.
///
/// ```no_run
/// # fn handle() -> vfio::Result<()> { Ok(()) }
/// # fn example(device: &vfio::Device) -> vfio::Result<()> {
/// use std::time::Duration;
/// use vfio::IrqIndex;
///
/// let line = device.line(IrqIndex::new(0))?;
/// while line.wait(Duration::from_secs(10))?.is_some() {
///     handle()?;
///     if line.is_maskable() {
///         line.unmask()?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// A VMM leaves both to its interrupt controller: it [connects](Self::enable_with) the line to an
/// eventfd that raises the guest's, and [unmasks it by](Self::unmask_by) another, which is
/// signalled when the guest has dealt with it (KVM's "resample" eventfd).
///
/// It holds the device open. What a device's driver can do with it differs:
///
/// | device | interrupts | mask |
/// |---|---|---|
/// | platform, AMBA | one at each index | level-triggered ones, also by eventfds |
/// | FSL-MC | one at each index | no |
/// | CDX | several at index 0 | no |
/// | AP | [`AP_REQUEST`](IrqIndex::AP_REQUEST), [`AP_CONFIG_CHANGE`](IrqIndex::AP_CONFIG_CHANGE) | no; nor can one be [triggered](Self::trigger) |
/// | CCW | [`CCW_IO`](IrqIndex::CCW_IO), [`CCW_REPORT`](IrqIndex::CCW_REPORT), [`CCW_REQUEST`](IrqIndex::CCW_REQUEST) | no |
///
/// Since Linux 6.6 (by the character device).
///
/// # System calls
/// `VFIO_DEVICE_GET_INFO`, `VFIO_DEVICE_GET_IRQ_INFO`, `eventfd2` and `VFIO_DEVICE_SET_IRQS` to
/// enable it, the last of these to disable, mask and unmask it; `fcntl` for a duplicate of an eventfd
/// that is not its own; `read` and `ppoll` to wait.
///
/// # Invariants
/// While one of `masked_by` and `unmasked_by` is not set, the kernel knows of no such eventfd.
#[must_use = "dropping the interrupt disables it"]
pub struct IrqLine {
    wire: Wire,
    maskable: bool,
    masked_by: bool,
    unmasked_by: bool,
}

impl IrqLine {
    /// Enables an interrupt with an eventfd of its own. It is not masked, whatever it was before.
    ///
    /// # Errors
    /// [`Error::IsPci`]: the device is a PCI function, which has [`Intx`](crate::Intx) and
    /// [`Interrupts`](crate::Interrupts). [`Error::NoLine`]: it has no such interrupt.
    /// [`Error::LineEnabled`]: that is enabled already. `EBUSY`: the line is another driver's as well.
    /// `EMFILE`: too many open files. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_SET_IRQS")]
    pub fn enable(device: &OpenDevice, index: IrqIndex) -> Result<Self> {
        Self::start(device, index, None)
    }

    /// Enables an interrupt with `eventfd`, which is the caller's to wait for.
    ///
    /// # Errors
    /// As for [`enable`](Self::enable); `EINVAL`: it is no eventfd.
    pub fn enable_with(device: &OpenDevice, index: IrqIndex, eventfd: impl AsFd) -> Result<Self> {
        Self::start(device, index, Some(eventfd.as_fd()))
    }

    fn start(
        device: &OpenDevice,
        index: IrqIndex,
        callers: Option<BorrowedFd<'_>>,
    ) -> Result<Self> {
        let info = device.line_info(index)?;
        if index.number() >= info.count {
            return Err(Error::NoLine { index });
        }
        let maskable = info.flags.contains(IrqFlags::MASKABLE);
        let hold = Hold::new(device.bound(), Kind::Line);
        let wire = Wire::enable(hold, index, callers, |bound| {
            // `vfio-platform` keeps a line masked that was when it was disabled.
            if maskable {
                let (index, start) = (index.get(), index.number());
                set::set(bound, index, start, Action::Unmask, Which::All(1))?;
            }
            Ok(())
        })?;
        Ok(Self {
            wire,
            maskable,
            masked_by: false,
            unmasked_by: false,
        })
    }

    /// Which interrupt it is.
    #[must_use]
    pub fn index(&self) -> IrqIndex {
        let (index, number) = self.wire.place();
        IrqIndex::new(index).at(number)
    }

    /// Whether it can be masked.
    #[must_use]
    pub fn is_maskable(&self) -> bool {
        self.maskable
    }

    /// Has it signal `eventfd`, which is the caller's to wait for, in the place of what it has
    /// signalled so far. Whether it is masked does not change.
    ///
    /// # Errors
    /// `EINVAL`: it is no eventfd; the interrupt then signals what it did. (Most drivers let go of that
    /// first, so it is put back.) `EMFILE`: too many open files. [`iommufd::Error::Forked`].
    pub fn connect(&mut self, eventfd: impl AsFd) -> Result<()> {
        let connected = self.wire.connect(eventfd.as_fd());
        if connected.is_err() {
            // If that fails as well, the first error tells more.
            self.wire.connect_again().ok();
        }
        connected
    }

    /// Keeps it from firing. What the device wants meanwhile it still wants afterwards.
    ///
    /// # Errors
    /// [`Error::NotMaskable`]; the kernel's refusal; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_IRQ_SET_ACTION_MASK")]
    pub fn mask(&self) -> Result<()> {
        self.check_maskable()?;
        self.wire.act(Action::Mask)
    }

    /// Lets it fire again, after it has, or after [`mask`](Self::mask).
    ///
    /// # Errors
    /// As for [`mask`](Self::mask).
    #[doc(alias = "VFIO_IRQ_SET_ACTION_UNMASK")]
    pub fn unmask(&self) -> Result<()> {
        self.check_maskable()?;
        self.wire.act(Action::Unmask)
    }

    /// Has the kernel mask it whenever `eventfd` is signalled: at once if it has been. It takes the
    /// place of one that was named before.
    ///
    /// The kernel resets the count of `eventfd` when it is signalled, and lets go of it when all its
    /// descriptors are closed, or the interrupt is disabled.
    ///
    /// # Errors
    /// [`Error::NotMaskable`]. `EINVAL`: it is no eventfd. `ENOTTY`: the device's driver cannot do it.
    /// After an error it is masked by no eventfd any more. [`iommufd::Error::Forked`].
    pub fn mask_by(&mut self, eventfd: impl AsFd) -> Result<()> {
        self.check_maskable()?;
        self.masked_by = true;
        self.wire.act_by(Action::Mask, eventfd.as_fd())
    }

    /// Has no eventfd mask it any more.
    ///
    /// # Errors
    /// [`Error::NotMaskable`]. `ENOTTY`: the device's driver cannot do it; [`iommufd::Error::Forked`].
    pub fn mask_by_none(&mut self) -> Result<()> {
        self.check_maskable()?;
        self.wire.act_by_none(Action::Mask)?;
        self.masked_by = false;
        Ok(())
    }

    /// Has the kernel unmask it whenever `eventfd` is signalled, as [`mask_by`](Self::mask_by) has it
    /// mask it.
    ///
    /// # Errors
    /// As for [`mask_by`](Self::mask_by).
    #[doc(alias = "resample")]
    pub fn unmask_by(&mut self, eventfd: impl AsFd) -> Result<()> {
        self.check_maskable()?;
        self.unmasked_by = true;
        self.wire.act_by(Action::Unmask, eventfd.as_fd())
    }

    /// Has no eventfd unmask it any more.
    ///
    /// # Errors
    /// As for [`mask_by_none`](Self::mask_by_none).
    pub fn unmask_by_none(&mut self) -> Result<()> {
        self.check_maskable()?;
        self.wire.act_by_none(Action::Unmask)?;
        self.unmasked_by = false;
        Ok(())
    }

    fn check_maskable(&self) -> Result<()> {
        match self.maskable {
            true => Ok(()),
            false => Err(Error::NotMaskable {
                index: self.index(),
            }),
        }
    }

    /// Signals the eventfd as if it had fired: to see that whoever waits does what is to be done. One
    /// that masks itself is masked by that, too, and does nothing if it is masked already.
    ///
    /// # Errors
    /// `EINVAL`: the device's driver cannot do it; [`iommufd::Error::Forked`].
    pub fn trigger(&self) -> Result<()> {
        self.wire.act(Action::Trigger)
    }

    /// Waits until it fires, at most `timeout`. Returns how often it has fired since it was last asked
    /// for, or `None` when the time is over. If it masks itself it is masked when it has fired.
    ///
    /// # Errors
    /// [`Error::NotWaitedForHere`]: it signals an eventfd of the caller's; [`iommufd::Error::Forked`];
    /// `ENOMEM`.
    pub fn wait(&self, timeout: Duration) -> Result<Option<u64>> {
        self.wire.wait(timeout)
    }

    /// How often it has fired since it was last asked for, without waiting; `None` if it has not.
    ///
    /// # Errors
    /// [`Error::NotWaitedForHere`]: it signals an eventfd of the caller's; [`iommufd::Error::Forked`].
    pub fn take(&self) -> Result<Option<u64>> {
        self.wire.take()
    }

    /// The eventfd, for an event loop: readable when it has fired.
    ///
    /// # Errors
    /// [`Error::NotWaitedForHere`]: it signals one of the caller's.
    pub fn eventfd(&self) -> Result<BorrowedFd<'_>> {
        self.wire.eventfd()
    }

    pub(crate) fn bound(&self) -> &Bound {
        self.wire.bound()
    }

    /// Disables it, so that it can be enabled anew.
    ///
    /// # Errors
    /// The kernel's refusal, with the interrupt still enabled; [`iommufd::Error::Forked`].
    pub fn disable(mut self) -> Result<(), Refused<Self>> {
        let disabled = self.forget().and_then(|()| self.wire.stop());
        disabled.map_err(|error| Refused::new(self, error))
    }

    /// Has no eventfd mask or unmask it any more. `vfio-platform` keeps them for whoever enables the
    /// interrupt next.
    fn forget(&mut self) -> Result<()> {
        if self.unmasked_by {
            self.unmask_by_none()?;
        }
        if self.masked_by {
            self.mask_by_none()?;
        }
        Ok(())
    }
}

impl Drop for IrqLine {
    fn drop(&mut self) {
        let forgotten = self.forget();
        eventfd::refused_drop(self.bound(), "eventfds of an interrupt", forgotten);
    }
}

impl OpenDevice {
    /// What the interrupt at an index is, of a device that is no PCI function, and how many have that
    /// index.
    ///
    /// How many indexes there are [`DeviceInfo::interrupts`](crate::DeviceInfo::interrupts) says.
    ///
    /// # Errors
    /// [`Error::IsPci`]: [`irq_info`](Self::irq_info) is for PCI functions. [`Error::NoLine`]: it has
    /// no such index; else as for [`info`](Self::info).
    #[doc(alias = "VFIO_DEVICE_GET_IRQ_INFO")]
    pub fn line_info(&self, index: IrqIndex) -> Result<IrqInfo> {
        IrqInfo::of_line(self.bound(), index)
    }

    /// Enables an interrupt of a device that is no PCI function.
    ///
    /// # Errors
    /// As for [`IrqLine::enable`].
    pub fn line(&self, index: IrqIndex) -> Result<IrqLine> {
        IrqLine::enable(self, index)
    }
}

impl fmt::Debug for IrqLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IrqLine")
            .field("index", &self.index())
            .finish_non_exhaustive()
    }
}
