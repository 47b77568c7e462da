//! A device attached to an address space or page table.

use std::fmt;
use std::sync::Arc;

use crate::context::Iommufd;
use crate::device::{Device, PageTableId};
use crate::error::{Error, Refused, Result};
use crate::hwpt::HwPt;
use crate::ioas::Ioas;
use crate::nest_parent::NestParent;

/// What a device can be attached to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Target {
    /// An address space; the kernel finds or makes a page table for it.
    Ioas(Ioas),
    /// A page table.
    HwPt(HwPt),
    /// A page table in which others can be nested: DMA is by guest physical address.
    NestParent(NestParent),
}

impl Target {
    /// The address space that the device will see.
    #[must_use]
    pub fn ioas(&self) -> &Ioas {
        match self {
            Self::Ioas(ioas) => ioas,
            Self::HwPt(hwpt) => hwpt.ioas(),
            Self::NestParent(parent) => parent.ioas(),
        }
    }

    /// The context it lives in.
    #[must_use]
    pub fn iommufd(&self) -> &Iommufd {
        self.ioas().iommufd()
    }

    pub(crate) fn page_table_id(&self) -> PageTableId {
        PageTableId::new(match self {
            Self::Ioas(ioas) => ioas.inner.id(),
            Self::HwPt(hwpt) => hwpt.table.id(),
            Self::NestParent(parent) => parent.table.id(),
        })
    }

    /// Whether it is the very same object.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ioas(this), Self::Ioas(other)) => Arc::ptr_eq(&this.inner, &other.inner),
            (Self::HwPt(this), Self::HwPt(other)) => Arc::ptr_eq(&this.table, &other.table),
            (Self::NestParent(this), Self::NestParent(other)) => {
                Arc::ptr_eq(&this.table, &other.table)
            }
            _ => false,
        }
    }
}

impl From<Ioas> for Target {
    fn from(ioas: Ioas) -> Self {
        Self::Ioas(ioas)
    }
}

impl From<&Ioas> for Target {
    fn from(ioas: &Ioas) -> Self {
        Self::Ioas(ioas.clone())
    }
}

impl From<HwPt> for Target {
    fn from(hwpt: HwPt) -> Self {
        Self::HwPt(hwpt)
    }
}

impl From<&HwPt> for Target {
    fn from(hwpt: &HwPt) -> Self {
        Self::HwPt(hwpt.clone())
    }
}

impl From<NestParent> for Target {
    fn from(parent: NestParent) -> Self {
        Self::NestParent(parent)
    }
}

impl From<&NestParent> for Target {
    fn from(parent: &NestParent) -> Self {
        Self::NestParent(parent.clone())
    }
}

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
///
/// # Invariants
/// While `attached`, the device is a member of its group, with its target.
#[must_use = "dropping an attachment detaches the device"]
pub struct Attachment {
    device: Device,
    attached: bool,
}

impl Attachment {
    pub(crate) fn new(device: &Device, target: Target) -> Result<Self> {
        device.iommufd().must_be(target.iommufd(), "target")?;
        device.group().attach(device, target)?;
        Ok(Self {
            device: device.clone(),
            attached: true,
        })
    }

    /// Moves the device to `target` atomically: no DMA is blocked in between.
    ///
    /// # Errors
    /// The attachment, as it was, with: [`Error::GroupShared`] if another device would, or may,
    /// move with it: use [`Group::replace`](crate::Group::replace);
    /// [`Error::ForeignContext`]; else as for [`Device::attach`].
    pub fn replace(self, target: impl Into<Target>) -> Result<Self, Refused<Self>> {
        match self.device.group().replace_alone(&target.into()) {
            Ok(()) => Ok(self),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// Detaches the device: from now on the IOMMU refuses its DMA.
    ///
    /// # Errors
    /// The kernel's refusal, with the attachment as it was; [`Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_DETACH_IOMMUFD_PT")]
    pub fn detach(mut self) -> Result<(), Refused<Self>> {
        match self.undo() {
            Ok(()) => Ok(()),
            Err(error) => Err(Refused::new(self, error)),
        }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the device is attached to now; [`Group::replace`](crate::Group::replace) changes it.
    /// `None` in a child of a fork.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        self.device.group().target_of(&self.device)
    }

    fn undo(&mut self) -> Result<()> {
        if self.attached {
            self.device.group().detach(&self.device)?;
            self.attached = false;
        }
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        match self.undo() {
            Ok(()) | Err(Error::Forked) => {}
            Err(error) => {
                self.device.group().is_stuck(self.device.id());
                let context = self.device.iommufd().context();
                context.object_stays("attachment", &error);
            }
        }
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
