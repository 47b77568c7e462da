//! The interrupt pin of a PCI function: a line that is masked when it fires.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

#[cfg(feature = "tokio")]
use crate::bound::Bound;
use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
use crate::holders::{Hold, Kind};
use crate::irq::set::Action;
use crate::irq::wire::Wire;
use crate::irq::{IrqInfo, IrqKind};

/// The enabled interrupt pin of a PCI function, as an eventfd: disabled when dropped.
///
/// The line stays up until the device has been told that its interrupt is handled. So that it does
/// not fire again and again meanwhile, the kernel masks it whenever it fires: whoever has handled
/// it [unmasks](Self::unmask) it, and without that it never fires again. If the device has not been
/// told, or wants something else by then, it fires at once.
///
/// ```no_run
/// # fn handle() -> vfio::Result<()> { Ok(()) }
/// # fn example(device: &vfio::Device) -> vfio::Result<()> {
/// use std::time::Duration;
///
/// let line = device.intx()?;
/// while line.wait(Duration::from_secs(10))?.is_some() {
///     // Finds out what the device wants, and tells it that this is dealt with.
///     handle()?;
///     line.unmask()?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// A VMM leaves both to its interrupt controller: it [connects](Self::enable_with) the line to an
/// eventfd that raises the guest's, and [unmasks it by](Self::unmask_by) another, which is
/// signalled when the guest has dealt with it (KVM's "resample" eventfd).
///
/// It holds the device open. Bit 10 of the command register ("Interrupt Disable") keeps the line
/// down as well. A [reset](OpenDevice::reset) leaves it enabled, and masked if it was. It arrives whether
/// the device is attached or not, on Arm, too.
///
/// Since Linux 6.6 (by the character device).
///
/// # System calls
/// `VFIO_DEVICE_GET_INFO`, `VFIO_DEVICE_GET_IRQ_INFO`, `eventfd2` and `VFIO_DEVICE_SET_IRQS` to
/// enable it, the last of these to disable, mask and unmask it; `fcntl` for a duplicate of an eventfd
/// that is not its own; `read` and `ppoll` to wait.
#[must_use = "dropping the interrupt disables it"]
pub struct Intx {
    wire: Wire,
}

impl Intx {
    /// Enables the interrupt pin with an eventfd of its own.
    ///
    /// # Errors
    /// [`Error::NoInterrupts`]: the device has no interrupt pin; [`Error::NotPci`].
    /// [`Error::InterruptsEnabled`]: interrupts are enabled already, of whichever kind. `ENODEV`: the
    /// pin is connected to nothing. `EBUSY`: the line is another driver's as well, and the device cannot be told apart on it.
    /// `EMFILE`: too many open files. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_PCI_INTX_IRQ_INDEX")]
    pub fn enable(device: &OpenDevice) -> Result<Self> {
        Self::start(device, None)
    }

    /// Enables the interrupt pin with `eventfd`, which is the caller's to wait for.
    ///
    /// # Errors
    /// As for [`enable`](Self::enable); `EINVAL`: it is no eventfd.
    pub fn enable_with(device: &OpenDevice, eventfd: impl AsFd) -> Result<Self> {
        Self::start(device, Some(eventfd.as_fd()))
    }

    fn start(device: &OpenDevice, callers: Option<BorrowedFd<'_>>) -> Result<Self> {
        let hold = Hold::new(device.bound(), Kind::Interrupts);
        let kind = IrqKind::Intx;
        let wire = Wire::enable(hold, kind, callers, |bound| {
            match IrqInfo::of(bound, kind)?.count {
                0 => Err(Error::NoInterrupts { kind }),
                _ => Ok(()),
            }
        })?;
        Ok(Self { wire })
    }

    /// Has the line signal `eventfd`, which is the caller's to wait for, in the place of what it has
    /// signalled so far. Whether it is masked does not change.
    ///
    /// # Errors
    /// `EINVAL`: it is no eventfd; the line then signals what it did. [`iommufd::Error::Forked`].
    pub fn connect(&mut self, eventfd: impl AsFd) -> Result<()> {
        self.wire.connect(eventfd.as_fd())
    }

    /// Keeps the line from firing. What the device wants meanwhile it still wants afterwards.
    ///
    /// # Errors
    /// The kernel's refusal; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_IRQ_SET_ACTION_MASK")]
    pub fn mask(&self) -> Result<()> {
        self.wire.act(Action::Mask)
    }

    /// Lets the line fire again, after it has, or after [`mask`](Self::mask).
    ///
    /// # Errors
    /// The kernel's refusal; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_IRQ_SET_ACTION_UNMASK")]
    pub fn unmask(&self) -> Result<()> {
        self.wire.act(Action::Unmask)
    }

    /// Has the kernel unmask the line whenever `eventfd` is signalled: at once if it has been. It
    /// takes the place of one that was named before.
    ///
    /// The kernel resets the count of `eventfd` when it is signalled, and lets go of it when all its
    /// descriptors are closed.
    ///
    /// # Errors
    /// `EINVAL`: it is no eventfd. `ENOTTY`: the device's driver cannot do it. After an error the line
    /// is unmasked by no eventfd any more. [`iommufd::Error::Forked`].
    #[doc(alias = "resample")]
    pub fn unmask_by(&mut self, eventfd: impl AsFd) -> Result<()> {
        self.wire.act_by(Action::Unmask, eventfd.as_fd())
    }

    /// Has no eventfd unmask the line any more.
    ///
    /// # Errors
    /// `ENOTTY`: the device's driver cannot do it; [`iommufd::Error::Forked`].
    pub fn unmask_by_none(&mut self) -> Result<()> {
        self.wire.act_by_none(Action::Unmask)
    }

    /// Signals the eventfd as if the line had fired, but masks nothing: to see that whoever waits
    /// does what is to be done.
    ///
    /// # Errors
    /// The kernel's refusal; [`iommufd::Error::Forked`].
    pub fn trigger(&self) -> Result<()> {
        self.wire.act(Action::Trigger)
    }

    /// Waits until the line fires, at most `timeout`. Returns how often it has fired since it was
    /// last asked for, or `None` when the time is over. It is masked when it has fired.
    ///
    /// # Errors
    /// [`Error::NotWaitedForHere`]: it signals an eventfd of the caller's; [`iommufd::Error::Forked`];
    /// `ENOMEM`.
    pub fn wait(&self, timeout: Duration) -> Result<Option<u64>> {
        self.wire.wait(timeout)
    }

    /// How often the line has fired since it was last asked for, without waiting; `None` if it has
    /// not.
    ///
    /// # Errors
    /// [`Error::NotWaitedForHere`]: it signals an eventfd of the caller's; [`iommufd::Error::Forked`].
    pub fn take(&self) -> Result<Option<u64>> {
        self.wire.take()
    }

    /// The eventfd, for an event loop: readable when the line has fired.
    ///
    /// # Errors
    /// [`Error::NotWaitedForHere`]: it signals one of the caller's.
    pub fn eventfd(&self) -> Result<BorrowedFd<'_>> {
        self.wire.eventfd()
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn bound(&self) -> &Bound {
        self.wire.bound()
    }

    /// Disables it, so that other interrupts can be enabled.
    ///
    /// # Errors
    /// The kernel's refusal, with the interrupt as it was; [`iommufd::Error::Forked`].
    pub fn disable(self) -> Result<(), Refused<Self>> {
        let disabled = self.wire.stop();
        disabled.map_err(|error| Refused::new(self, error))
    }
}

impl OpenDevice {
    /// Enables the interrupt pin.
    ///
    /// # Errors
    /// As for [`Intx::enable`].
    pub fn intx(&self) -> Result<Intx> {
        Intx::enable(self)
    }
}

impl fmt::Debug for Intx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intx")
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}
