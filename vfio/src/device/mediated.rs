//! A device that the kernel's driver emulates.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use iommufd::Ioas;

use super::Inner;
use super::handle::{self, handle};
use crate::device::{IoasAttachment, OpenDevice};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Refused;
use crate::holders::Holders;

/// A mediated device, bound to an `iommufd`: one that the kernel's driver emulates, and behind which
/// there is no IOMMU.
///
/// Its driver reaches memory by the CPU, and finds it by an address space. So it can be attached to an
/// [`Ioas`], and to nothing else: it has no page tables, no PASIDs, nothing can be nested for it, and
/// there is no [`iommufd::Device`] of it that could be asked for these. Registers, interrupts and all
/// that is a device's own are as with any other ([`OpenDevice`]).
///
/// Cloning gives another handle; what is made of it holds it open.
///
/// Made by [`Cdev::bind_mediated`](crate::Cdev::bind_mediated).
///
/// # Unmapping
/// What its driver pins of memory it has to let go of when that is unmapped, and is asked to up to a
/// hundred times. Of a driver that does not, the unmap fails with [`iommufd::Error::StillPinned`], and
/// the mapping is back in the caller's hands.
///
/// # System calls
/// As for [`Device`](crate::Device).
///
/// Since Linux 6.6.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use iommufd::{Ioas, Iommufd};
/// use vfio::Cdev;
///
/// let iommufd = Iommufd::open()?;
/// let device = Cdev::open("/dev/vfio/devices/vfio0")?.bind_mediated(&iommufd)?;
/// let ioas = Ioas::new(&iommufd)?;
/// let attachment = device.attach(&ioas)?;
/// println!("{} regions", device.info()?.regions);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MediatedDevice {
    pub(super) inner: Arc<Inner>,
}

handle!(MediatedDevice);

impl MediatedDevice {
    /// Attaches the device: from now on its driver finds memory by `ioas`.
    ///
    /// # Errors
    /// [`iommufd::Error::AlreadyAttached`]: use [`IoasAttachment::replace`];
    /// [`iommufd::Error::ForeignContext`]; `EADDRINUSE`: something is mapped that is not aligned to
    /// pages; `ENOMEM`; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_ATTACH_IOMMUFD_PT")]
    pub fn attach(&self, ioas: &Ioas) -> iommufd::Result<IoasAttachment> {
        IoasAttachment::new(&self.inner.iommu, ioas)
    }
}
