//! Interrupts, each vector an eventfd.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bitflags::bitflags;
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;

use crate::bound::Bound;
use crate::device::OpenDevice;
use crate::error::{Error, Refused, Result};
use crate::eventfd;
use crate::holders::{Hold, Kind};

/// The kinds of interrupts that a PCI function raises by writing to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IrqKind {
    /// Message signalled interrupts, up to 32 vectors (PCI Express Base, "MSI Capability").
    Msi,
    /// The same with a table in a BAR, up to 2048 vectors (PCI Express Base, "MSI-X Capability").
    MsiX,
}

impl IrqKind {
    fn index(self) -> u32 {
        match self {
            Self::Msi => sys::VFIO_PCI_MSI_IRQ_INDEX,
            Self::MsiX => sys::VFIO_PCI_MSIX_IRQ_INDEX,
        }
    }

    fn of_index(index: u32) -> Option<Self> {
        [Self::Msi, Self::MsiX]
            .into_iter()
            .find(|kind| kind.index() == index)
    }
}

impl fmt::Display for IrqKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Msi => "MSI",
            Self::MsiX => "MSI-X",
        })
    }
}

/// Whether the IOMMU translates interrupts as it does all that a device writes. The kernel then
/// maps where they go to in what the device is attached to. If that is nothing, it refuses, and
/// (seen on Linux 7.3, Arm's ITS) loses a vector of the device's each time: until the next boot an
/// `edu`, which has one, gets no interrupt any more. So it is not asked.
const TRANSLATED: bool = cfg!(target_arch = "aarch64");

bitflags! {
    /// What can be done with interrupts of a kind.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct IrqFlags: u32 {
        /// They can signal an eventfd.
        const EVENTFD = sys::VFIO_IRQ_INFO_EVENTFD;
        /// They can be masked.
        const MASKABLE = sys::VFIO_IRQ_INFO_MASKABLE;
        /// They mask themselves when they fire.
        const AUTOMASKED = sys::VFIO_IRQ_INFO_AUTOMASKED;
        /// Changing how many are enabled means disabling all of them first.
        const NORESIZE = sys::VFIO_IRQ_INFO_NORESIZE;
        // Whatever a newer kernel sets is kept.
        const _ = !0;
    }
}

/// How many interrupts of a kind a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IrqInfo {
    /// What can be done with them.
    pub flags: IrqFlags,
    /// How many vectors; 0 if the device has none of the kind.
    pub count: u32,
}

impl IrqInfo {
    pub(crate) fn of(bound: &Bound, kind: IrqKind) -> Result<Self> {
        let mut arg = sys::vfio_irq_info::sized();
        arg.index = kind.index();
        bound.fixed(&nr::DEVICE_GET_IRQ_INFO, &mut arg)?;
        Ok(Self {
            flags: IrqFlags::from_bits_retain(arg.flags),
            count: arg.count,
        })
    }
}

/// Enabled interrupts of one kind: disabled when dropped.
///
/// A device raises interrupts only while bus mastering is enabled, as they are writes to memory:
/// see [`ConfigSpace::enable_bus_master`](crate::ConfigSpace::enable_bus_master).
///
/// It holds the device open. Dropping it waits until no interrupt is being handled any more;
/// [`disable`](Self::disable) does the same, and tells.
///
/// On Arm the IOMMU translates interrupts as it does all that the device writes: they can be
/// enabled while the device is attached, and those of a device that was detached do not arrive.
///
/// Since Linux 6.6 (by the character device).
///
/// ```no_run
/// # fn example(device: &vfio::Device) -> vfio::Result<()> {
/// use std::time::Duration;
/// use vfio::{Interrupts, IrqKind};
///
/// let interrupts = Interrupts::enable(device, IrqKind::Msi, 1)?;
/// // … have the device do something …
/// if interrupts.vector(0)?.wait(Duration::from_secs(1))?.is_none() {
///     println!("no interrupt for a second");
/// }
/// interrupts.disable()?;
/// # Ok(())
/// # }
/// ```
///
/// # System calls
/// `VFIO_DEVICE_GET_IRQ_INFO`, `eventfd2` and `VFIO_DEVICE_SET_IRQS` to enable them, the last of
/// these to disable them; `read` and `ppoll` to wait.
///
/// # Invariants
/// While `enabled`, the kernel signals the eventfds, and the device's claim is of `kind`.
#[must_use = "dropping the interrupts disables them"]
pub struct Interrupts {
    hold: Hold,
    kind: IrqKind,
    eventfds: Vec<OwnedFd>,
    enabled: bool,
}

impl Interrupts {
    /// Enables `count` vectors of `kind`, each with an eventfd of its own.
    ///
    /// # Errors
    /// [`Error::FewerVectors`], with nothing enabled, if the device has fewer, or the machine has
    /// no more to give; [`Error::NoInterrupts`] if the device has none of that kind;
    /// [`Error::InterruptsEnabled`] if interrupts are enabled already, of whichever kind;
    /// [`Error::NoVector`] for a count of 0; on Arm [`Error::InterruptsUnattached`] if no device of
    /// the IOMMU group is attached. `EMFILE`: too many open files. `ENOSPC`: the machine is out of
    /// vectors. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_SET_IRQS")]
    pub fn enable(device: &OpenDevice, kind: IrqKind, count: u32) -> Result<Self> {
        let hold = Hold::new(device.bound(), Kind::Interrupts);
        let bound = hold.bound();
        let claim = Claim::take(bound, kind)?;
        if count == 0 {
            return Err(Error::NoVector {
                vector: 0,
                enabled: 0,
            });
        }
        let fewer = |available| Error::FewerVectors {
            kind,
            requested: count,
            available,
        };
        match IrqInfo::of(bound, kind)?.count {
            0 => return Err(Error::NoInterrupts { kind }),
            available if available < count => return Err(fewer(available)),
            _ => {}
        }
        if TRANSLATED && device.is_unattached() {
            return Err(Error::InterruptsUnattached { kind });
        }
        let eventfds = (0..count)
            .map(|_| eventfd::create())
            .collect::<Result<Vec<_>>>()?;
        let mut arg = eventfd::request(kind.index(), &eventfds)?;
        match bound.sized(&nr::DEVICE_SET_IRQS, &mut arg)? {
            0 => {}
            // The kernel has enabled nothing, and says how many there could be.
            available => return Err(fewer(available.unsigned_abs())),
        }
        claim.keep();
        // INVARIANT: the kernel has just enabled them.
        Ok(Self {
            hold,
            kind,
            eventfds,
            enabled: true,
        })
    }

    /// Their kind.
    #[must_use]
    pub fn kind(&self) -> IrqKind {
        self.kind
    }

    /// How many vectors are enabled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.eventfds.len()
    }

    /// Always false: at least one vector is enabled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.eventfds.is_empty()
    }

    /// One of the vectors, from 0 on.
    ///
    /// # Errors
    /// [`Error::NoVector`].
    pub fn vector(&self, vector: u32) -> Result<Vector<'_>> {
        let place = usize::try_from(vector).unwrap_or(usize::MAX);
        match self.eventfds.get(place) {
            Some(eventfd) => Ok(Vector {
                interrupts: self,
                eventfd: eventfd.as_fd(),
            }),
            None => {
                let enabled = u32::try_from(self.len()).unwrap_or(u32::MAX);
                Err(Error::NoVector { vector, enabled })
            }
        }
    }

    /// All the vectors, in order.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = Vector<'_>> {
        self.eventfds.iter().map(|eventfd| Vector {
            interrupts: self,
            eventfd: eventfd.as_fd(),
        })
    }

    /// Disables them, so that others can be enabled.
    ///
    /// # Errors
    /// The kernel's refusal, with the interrupts as they were; [`iommufd::Error::Forked`].
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
        bound.interrupts.release();
        Ok(())
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // After a refusal the interrupts count as enabled: no others can be enabled, and the
        // kernel, which has its own references to the eventfds, disables them when the device is
        // closed.
        let disabled = self.stop();
        eventfd::refused_drop(self.hold.bound(), "interrupts", disabled);
    }
}

impl fmt::Debug for Interrupts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupts")
            .field("kind", &self.kind)
            .field("vectors", &self.eventfds.len())
            .finish_non_exhaustive()
    }
}

/// Which kind of interrupts is enabled, or is being enabled or disabled. A number, not a lock: no
/// lock is held across the ioctl, and a child of a fork can ask.
#[derive(Debug, Default)]
pub(crate) struct EnabledKind(AtomicU32);

impl EnabledKind {
    /// The kind, if there is one.
    pub(crate) fn get(&self) -> Option<IrqKind> {
        IrqKind::of_index(self.0.load(Ordering::Acquire))
    }

    /// Enters `kind` if there is none, and says which there is otherwise.
    fn claim(&self, kind: IrqKind) -> Result<(), Error> {
        // No message signalled interrupts have the index 0, so it stands for none.
        self.0
            .compare_exchange(0, kind.index(), Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
            .map_err(|index| Error::InterruptsEnabled {
                kind: IrqKind::of_index(index).unwrap_or(kind),
            })
    }

    fn release(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// The right to enable interrupts of a device, given back if it comes to nothing.
struct Claim<'b> {
    bound: &'b Bound,
    kept: bool,
}

impl<'b> Claim<'b> {
    fn take(bound: &'b Bound, kind: IrqKind) -> Result<Self> {
        bound.iommufd().check_process()?;
        bound.interrupts.claim(kind)?;
        Ok(Self { bound, kept: false })
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.bound.interrupts.release();
        }
    }
}

/// One interrupt vector: an eventfd that counts how often it has fired.
///
/// As a file (`AsFd`) it is readable when it has, for an event loop.
#[derive(Clone, Copy)]
pub struct Vector<'i> {
    interrupts: &'i Interrupts,
    eventfd: BorrowedFd<'i>,
}

impl Vector<'_> {
    /// Waits until the interrupt fires, at most `timeout`. Returns how often it has fired since it
    /// was last asked for, or `None` when the time is over.
    ///
    /// Of several threads that wait for one vector, one gets the count.
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`]; `ENOMEM`.
    pub fn wait(&self, timeout: Duration) -> Result<Option<u64>> {
        eventfd::wait(self.interrupts.hold.bound(), self.eventfd, timeout)
    }

    /// How often the interrupt has fired since it was last asked for, without waiting; `None` if it
    /// has not.
    ///
    /// # Errors
    /// [`iommufd::Error::Forked`].
    pub fn take(&self) -> Result<Option<u64>> {
        eventfd::take(self.interrupts.hold.bound(), self.eventfd)
    }
}

impl AsFd for Vector<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd
    }
}

impl fmt::Debug for Vector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vector").field(&self.eventfd).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_is_claimed_at_a_time() {
        let enabled = EnabledKind::default();
        assert_eq!(enabled.get(), None);
        enabled.claim(IrqKind::MsiX).unwrap();
        assert_eq!(enabled.get(), Some(IrqKind::MsiX));
        let refused = enabled.claim(IrqKind::Msi);
        assert!(matches!(
            refused,
            Err(Error::InterruptsEnabled {
                kind: IrqKind::MsiX
            })
        ));
        enabled.release();
        enabled.claim(IrqKind::Msi).unwrap();
    }

    #[test]
    fn kinds_have_names() {
        assert_eq!(
            [IrqKind::Msi, IrqKind::MsiX].map(|kind| kind.to_string()),
            ["MSI", "MSI-X"]
        );
    }
}
