//! A device attached to an address space, and never to a page table.

use std::fmt;

use iommufd::{Attachment, Ioas, Target};

/// A device attached to an address space: detached when dropped.
///
/// It holds the device and the address space. Dropping it can wait for the device's driver;
/// [`detach`](Self::detach) does the same, and tells.
///
/// # System calls
/// `VFIO_DEVICE_ATTACH_IOMMUFD_PT` and `VFIO_DEVICE_DETACH_IOMMUFD_PT`.
///
/// Since Linux 6.6.
#[must_use = "dropping an attachment detaches the device"]
pub struct IoasAttachment {
    inner: Attachment,
}

impl IoasAttachment {
    pub(super) fn new(device: &iommufd::Device, ioas: &Ioas) -> iommufd::Result<Self> {
        let inner = device.attach(ioas)?;
        Ok(Self { inner })
    }

    /// Moves the device to `ioas`; after an error it is where it was.
    ///
    /// A mediated device's driver lets go of all that it has pinned.
    ///
    /// # Errors
    /// [`iommufd::Error::ForeignContext`]; `ENOMEM`; [`iommufd::Error::Forked`]; else as for
    /// [`iommufd::Attachment::replace`].
    pub fn replace(&mut self, ioas: &Ioas) -> iommufd::Result<()> {
        self.inner.replace(ioas)
    }

    /// Detaches the device.
    ///
    /// # Errors
    /// The kernel's refusal, with the attachment as it was; [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_DETACH_IOMMUFD_PT")]
    pub fn detach(self) -> Result<(), iommufd::Refused<Self>> {
        self.inner
            .detach()
            .map_err(|refused| refused.map(|inner| Self { inner }))
    }

    /// What the device is attached to now. `None` in a child of a fork, and if the kernel has left it
    /// attached to nothing ([`iommufd::Error::TranslationLost`]).
    #[must_use]
    pub fn ioas(&self) -> Option<Ioas> {
        self.inner.target().as_ref().map(Target::ioas).cloned()
    }
}

impl fmt::Debug for IoasAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IoasAttachment").field(&self.inner).finish()
    }
}
