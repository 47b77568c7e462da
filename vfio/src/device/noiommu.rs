//! A device between which and memory there is nothing.

// UNSAFETY: declares unsafe functions; nothing is called.
#![expect(unsafe_code, reason = "the door to DMA that nothing confines")]

use std::fmt;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use iommufd::{Ioas, Iommufd};

use super::Inner;
use super::handle::{self, handle};
use crate::address::PciAddress;
use crate::cdev::{BindError, Cdev};
use crate::device::{IoasAttachment, OpenDevice};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Refused, Result};
use crate::holders::Holders;

/// A noiommu device, bound to an `iommufd`: what it puts on the bus are physical addresses, and
/// nothing keeps it from any memory of the machine.
///
/// Attached to an [`Ioas`], it has what is mapped there pinned, and
/// [`Ioas::noiommu_physical_range`] tells where that is; the device itself knows nothing of the address
/// space. Registers, interrupts and all that is a device's own are as with any other
/// ([`OpenDevice`]).
///
/// Linux offers such devices if it is told to
/// (`/sys/module/vfio/parameters/enable_unsafe_noiommu_mode`), is tainted by it, and wants
/// `CAP_SYS_RAWIO` of who opens one.
///
/// # Safety
/// Whoever opens one promises, for as long as the device is bound, and for all code that gets at it:
/// - it is given physical addresses that [`Ioas::noiommu_physical_range`] has told and none else, and
///   uses them as is said there: within the run and the access of the mapping, and before the mapping,
///   or the attachment, goes;
/// - before bus mastering is enabled
///   ([`ConfigSpace::enable_bus_master`](crate::ConfigSpace::enable_bus_master)) there is nothing left
///   in its registers, of a former user, that would start such an access; after a reset there is not;
/// - its interrupts are enabled by [`Interrupts`](crate::Interrupts) alone: an MSI is a write to memory
///   as well.
///
/// Everything else of it is safe, as with any device, only because of that promise: so it is kept away
/// from code that does not know of it.
///
/// # System calls
/// As for [`Cdev`] and [`Device`](crate::Device).
///
/// Since Linux 7.3.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use iommufd::{Access, DmaBuffer, Ioas, Iommufd};
/// use vfio::{NoIommuDevice, RegionIndex};
///
/// let iommufd = Iommufd::open()?;
/// // SAFETY: an `edu`, which starts DMA when it is told to, here and nowhere else.
/// let device = unsafe { NoIommuDevice::open("/dev/vfio/devices/noiommu-vfio0", &iommufd) }?;
/// let ioas = Ioas::new(&iommufd)?;
/// let _attachment = device.attach(&ioas)?;
/// let buffer = DmaBuffer::new(4096)?.share();
/// let mapping = ioas.map(&buffer, Access::ReadWrite)?;
/// // SAFETY: the device is given this address, and its DMA has ended before `mapping` goes.
/// let memory = unsafe { ioas.noiommu_physical_range(mapping.range()) }?;
/// device.map_bar(RegionIndex::BAR0)?.write(0x80, memory.start().get())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NoIommuDevice {
    inner: Arc<Inner>,
}

handle!(NoIommuDevice);

impl NoIommuDevice {
    /// Opens the character device at `path`, `/dev/vfio/devices/noiommu-vfioN`, and binds it to
    /// `iommufd`.
    ///
    /// # Safety
    /// The promise of the [type](Self#safety).
    ///
    /// # Errors
    /// [`Error::HasIommu`]: it is none of these. [`Error::Open`]: `EPERM`: the process has no
    /// `CAP_SYS_RAWIO`; `ENOENT`, `EACCES` and `ENODEV` as for [`Cdev::open`]. [`Error::NotVfio`]. Of
    /// the bind as for [`Cdev::bind`], but for `EPERM` and `EBUSY`; the file is closed then.
    pub unsafe fn open(path: impl AsRef<Path>, iommufd: &Iommufd) -> Result<Self> {
        Ok(Cdev::open_noiommu(path.as_ref())?.bind_noiommu(iommufd)?)
    }

    /// Opens the character device of the PCI function at `address`, which sysfs names, and binds it to
    /// `iommufd`.
    ///
    /// # Safety
    /// The promise of the [type](Self#safety).
    ///
    /// # Errors
    /// [`Error::HasIommu`]; [`Error::NotReady`], [`Error::NoSuchDevice`] and [`Error::Sysfs`] as for
    /// [`Cdev::open_pci`]; else as for [`open`](Self::open).
    pub unsafe fn open_pci(address: PciAddress, iommufd: &Iommufd) -> Result<Self> {
        Ok(Cdev::open_noiommu_pci(address)?.bind_noiommu(iommufd)?)
    }

    /// Takes over an open character device that nobody has bound, as a sandboxed process is given it,
    /// and binds it to `iommufd`.
    ///
    /// # Safety
    /// The promise of the [type](Self#safety), also of whoever else has the file.
    ///
    /// # Errors
    /// The file, with [`Error::HasIommu`] if sysfs or procfs tells, [`Error::AlreadyBound`] or
    /// [`Error::NotVfio`]. Of the bind as for [`open`](Self::open), with `None` if the file has been
    /// closed.
    pub unsafe fn from_fd(
        fd: OwnedFd,
        iommufd: &Iommufd,
    ) -> Result<Self, Refused<Option<OwnedFd>>> {
        Cdev::from_noiommu_fd(fd)
            .map_err(|refused| refused.map(Some))?
            .bind_noiommu(iommufd)
            .map_err(BindError::into_refused_fd)
    }

    /// Attaches the device: what is mapped in `ioas`, and will be, is pinned for it.
    ///
    /// # Errors
    /// [`iommufd::Error::AlreadyAttached`]: use [`IoasAttachment::replace`];
    /// [`iommufd::Error::ForeignContext`]; `EFAULT`, `ENOMEM`: mapped memory cannot be pinned;
    /// [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_ATTACH_IOMMUFD_PT")]
    pub fn attach(&self, ioas: &Ioas) -> iommufd::Result<IoasAttachment> {
        IoasAttachment::new(&self.inner.iommu, ioas)
    }
}
