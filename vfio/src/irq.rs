//! The interrupts of a device: their kinds, what can be done with them, and who has them.

mod enabled;
mod index;
mod interrupts;
mod intx;
mod line;
mod lines;
mod owned;
pub(crate) mod set;
mod wire;

pub(crate) use enabled::EnabledKind;
pub use index::IrqIndex;
pub use interrupts::{Interrupts, Vector};
pub use intx::Intx;
pub use line::IrqLine;
pub(crate) use lines::EnabledLines;
pub use owned::OwnedVector;

use std::fmt;

use bitflags::bitflags;
use iommufd_sys::ioctl::ArgszArg;
use iommufd_sys::ioctl::vfio as nr;
use iommufd_sys::vfio as sys;
use rustix::io::Errno;

use crate::bound::Bound;
use crate::error::{Error, Result};
use crate::info::{DeviceFlags, DeviceInfo};

/// The kinds of interrupts that a PCI function raises.
///
/// What other devices raise is none of these: [`IrqLine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IrqKind {
    /// The interrupt pin, a line that other functions may share: [`Intx`] (PCI Express Base,
    /// section 6.1.2).
    Intx,
    /// Message signalled interrupts: [`Interrupts`] of [`MsiKind::Msi`].
    Msi,
    /// Message signalled interrupts with a table: [`Interrupts`] of [`MsiKind::MsiX`].
    MsiX,
}

impl IrqKind {
    const ALL: [Self; 3] = [Self::Intx, Self::Msi, Self::MsiX];

    pub(crate) fn index(self) -> u32 {
        match self {
            Self::Intx => sys::VFIO_PCI_INTX_IRQ_INDEX,
            Self::Msi => sys::VFIO_PCI_MSI_IRQ_INDEX,
            Self::MsiX => sys::VFIO_PCI_MSIX_IRQ_INDEX,
        }
    }
}

impl fmt::Display for IrqKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intx => "INTx",
            Self::Msi => "MSI",
            Self::MsiX => "MSI-X",
        })
    }
}

/// The kinds of interrupts that a PCI function raises by writing to memory: those of which
/// [`Interrupts`] are. They cannot be masked through VFIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MsiKind {
    /// Message signalled interrupts, up to 32 vectors (PCI Express Base, "MSI Capability").
    Msi,
    /// The same with a table in a BAR, up to 2048 vectors (PCI Express Base, "MSI-X Capability").
    MsiX,
}

impl From<MsiKind> for IrqKind {
    fn from(kind: MsiKind) -> Self {
        match kind {
            MsiKind::Msi => Self::Msi,
            MsiKind::MsiX => Self::MsiX,
        }
    }
}

impl fmt::Display for MsiKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&IrqKind::from(*self), f)
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
        check_pci(bound)?;
        Self::at(bound, kind.index())
    }

    /// What is at an index of a device that is no PCI function.
    pub(crate) fn of_line(bound: &Bound, index: IrqIndex) -> Result<Self> {
        match check_pci(bound) {
            Ok(()) => return Err(Error::IsPci),
            Err(Error::NotPci) => {}
            Err(error) => return Err(error),
        }
        Self::at(bound, index.get()).map_err(|error| match error.errno() {
            Some(Errno::INVAL) => Error::NoLine { index },
            _ => error,
        })
    }

    fn at(bound: &Bound, index: u32) -> Result<Self> {
        let mut arg = sys::vfio_irq_info::sized();
        arg.index = index;
        bound.fixed(&nr::DEVICE_GET_IRQ_INFO, &mut arg)?;
        Ok(Self {
            flags: IrqFlags::from_bits_retain(arg.flags),
            count: arg.count,
        })
    }
}

/// Refuses a device whose interrupts are numbered otherwise than those of a PCI function: an index
/// would be that of another interrupt.
pub(crate) fn check_pci(bound: &Bound) -> Result<()> {
    // (The sample mdev `mtty` of Linux 7.3 knows of no interrupts before it has been asked this.)
    match DeviceInfo::of(bound)?.flags.contains(DeviceFlags::PCI) {
        true => Ok(()),
        false => Err(Error::NotPci),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        assert_eq!(
            IrqKind::ALL.map(|kind| kind.to_string()),
            ["INTx", "MSI", "MSI-X"]
        );
        assert_eq!(MsiKind::MsiX.to_string(), "MSI-X");
    }
}
