//! A device attached to an address space or page table.

use std::fmt;

use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::group::Who;
use crate::pasid::Pasid;
use crate::target::Target;

/// A device attached to an address space or page table: detached when dropped.
///
/// It holds the device and what it is attached to. Dropping it can wait for the IOMMU, and for
/// other attaches and detaches of the IOMMU group; [`detach`](Self::detach) does the same, and
/// tells.
///
/// # System calls
/// The driver's: `VFIO_DEVICE_ATTACH_IOMMUFD_PT` and `VFIO_DEVICE_DETACH_IOMMUFD_PT`.
///
/// Since Linux 6.6.
#[must_use = "dropping an attachment detaches the device"]
pub struct Attachment {
    hold: Hold,
}

impl Attachment {
    pub(crate) fn new(device: &Device, target: Target) -> Result<Self> {
        let hold = Hold::new(device, Who::Device, target)?;
        Ok(Self { hold })
    }

    /// Moves the device to `target`. Its DMA comes to the old or to the new table, never elsewhere;
    /// after an error it is where it was.
    ///
    /// Whether DMA is refused for a moment meanwhile is the IOMMU's affair: Arm's SMMUv3 goes from
    /// table to table without a gap wherever the two allow it; VT-d and AMD's IOMMU have a gap in
    /// every move. If the kernel refuses the move there is a gap on all of them, as what some of them
    /// have stopped by then is made good by detaching the device and attaching it again. (Not if the
    /// refusal is `EBUSY` or `EADDRINUSE`, which come before.) That answers what page requests of it
    /// are waiting; and what is mapped in an address space is unpinned and pinned again, unless some
    /// other device or page table uses it.
    ///
    /// If it cannot be attached again, the attachment stays, attached to nothing: the next `replace`
    /// attaches it, where to it says.
    ///
    /// So a VMM has the attachment in the struct of its device, and moves it there:
    ///
    /// ```no_run
    /// use iommufd::{Attachment, HwPt, Ioas, Result};
    ///
    /// struct PassedThrough {
    ///     attachment: Attachment,
    ///     guest_memory: Ioas,
    /// }
    ///
    /// impl PassedThrough {
    ///     /// The guest has put its device behind its IOMMU, or in front of it again.
    ///     fn translate_by(&mut self, tables: Option<&HwPt>) -> Result<()> {
    ///         match tables {
    ///             Some(tables) => self.attachment.replace(tables),
    ///             None => self.attachment.replace(&self.guest_memory),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::GroupShared`] if another device would, or may, move with it: use
    /// [`Group::replace`](crate::Group::replace); [`Error::ForeignContext`];
    /// [`Error::StaleTranslations`]: the device is at the new target; [`Error::TranslationLost`]: the
    /// device is not where it was, but attached to nothing; else as for
    /// [`Device::attach`].
    pub fn replace(&mut self, target: impl Into<Target>) -> Result<()> {
        self.hold.replace(&target.into())
    }

    /// Detaches the device: from now on the IOMMU refuses its DMA, unless another device of its
    /// IOMMU group is still attached. With the last of them the kernel detaches the group.
    ///
    /// # Errors
    /// The kernel's refusal, with the attachment as it was; [`Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_DETACH_IOMMUFD_PT")]
    pub fn detach(mut self) -> Result<(), Refused<Self>> {
        match self.hold.undo() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.hold.device
    }

    /// What the device is attached to now; [`Group::replace`](crate::Group::replace) changes it.
    /// `None` in a child of a fork, and after an [`Error::TranslationLost`].
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        self.hold.target()
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("device", &self.hold.device)
            .finish_non_exhaustive()
    }
}

/// What holds a device, or one of its PASIDs, attached.
///
/// # Invariants
/// While `attached`, the device is a member of its group with `pasid`.
pub(crate) struct Hold {
    device: Device,
    /// `None`: the device itself, by its requests that carry no PASID.
    pasid: Option<Pasid>,
    attached: bool,
}

impl Hold {
    pub(crate) fn new(device: &Device, who: Who, target: Target) -> Result<Self> {
        device.iommufd().must_be(target.iommufd(), "target")?;
        target.fits(device)?;
        device.group().attach(device, who, target.clone())?;
        let hold = Self {
            device: device.clone(),
            pasid: who.pasid(),
            attached: true,
        };
        target.settle()?;
        Ok(hold)
    }

    pub(crate) fn replace(&self, target: &Target) -> Result<()> {
        target.fits(&self.device)?;
        self.device
            .group()
            .replace_alone(&self.device, self.pasid, target)?;
        target.settle()
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn target(&self) -> Option<Target> {
        self.device.group().target_of(&self.device, self.pasid)
    }

    pub(crate) fn undo(&mut self) -> Result<()> {
        if self.attached {
            self.device.group().detach(&self.device, self.pasid)?;
            self.attached = false;
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        match self.undo() {
            Ok(()) | Err(Error::Forked) => {}
            Err(error) => {
                let group = self.device.group();
                let _vdevice = group.leave_stuck(self.device.id(), self.pasid);
                let context = self.device.iommufd().context();
                context.object_stays("attachment", &error);
            }
        }
    }
}
