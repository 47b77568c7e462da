//! PASIDs that are handed out: the kernel hands out none.

use std::fmt;

use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::pasid::Pasid;
use crate::pasid_attachment::{PasidAttachment, PasidTarget};

/// Hands out a device's PASIDs, for programs that have no guest which chooses them. Got from
/// [`Device::pasids`].
///
/// What one handle of a device has handed out no other does, nor one of another device of the same
/// IOMMU group: the kernel attaches a PASID of all of them at once. Nor is what somebody has
/// attached by [`Device::attach_pasid`], with a number of his own choice.
///
/// ```no_run
/// # fn example(device: &iommufd::Device, table: &iommufd::HwPt) -> iommufd::Result<()> {
/// let pasid = device.pasids().allocate()?;
/// println!("the device is told to use PASID {}", pasid.pasid());
/// let attachment = pasid.attach(table)?;
/// # Ok(())
/// # }
/// ```
///
/// Where nothing is known of the devices' groups it knows of all devices like that, and of no others.
///
/// Since Linux 6.15.
#[derive(Clone, PartialEq, Eq)]
pub struct Pasids {
    device: Device,
}

impl Pasids {
    pub(crate) fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
        }
    }

    /// Hands out a PASID that nobody has. Those that were given back come last, so that what a device
    /// may still say with one of them is not soon taken for another's.
    ///
    /// Waits while a device of the IOMMU group is being attached, moved or detached.
    ///
    /// # Errors
    /// [`Error::NoPasidLeft`]: the device has none, or all that it has are in use, or the kernel is
    /// older; [`Error::Forked`]; else as for [`Device::hw_info`].
    ///
    /// # System calls
    /// `IOMMU_GET_HW_INFO`, once for a device.
    pub fn allocate(&self) -> Result<AllocatedPasid> {
        let bits = self.device.pasid_bits()?;
        let pasid = self.device.group().allocate_pasid(bits)?;
        let pasid = pasid.ok_or(Error::NoPasidLeft { bits })?;
        Ok(AllocatedPasid {
            device: self.device.clone(),
            pasid,
        })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl fmt::Debug for Pasids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pasids").field(&self.device).finish()
    }
}

/// A PASID of a device that nobody else has, given back when dropped.
///
/// Attached, it is the attachment's: it is given back when the kernel has detached it. If the kernel
/// would not, nobody is given it again before it is detached (or the device is released). Forgotten,
/// it is never given back.
///
/// # Invariants
/// The group of `device` has `pasid` as allocated, once, for this.
#[must_use = "dropping it gives the PASID back"]
pub struct AllocatedPasid {
    device: Device,
    pasid: Pasid,
}

impl AllocatedPasid {
    /// Attaches it to `target`: see [`Device::attach_pasid`].
    ///
    /// # Errors
    /// As for [`Device::attach_pasid`], with the PASID.
    #[doc(alias = "VFIO_DEVICE_ATTACH_PASID")]
    pub fn attach(self, target: impl Into<PasidTarget>) -> Result<PasidAttachment, Refused<Self>> {
        PasidAttachment::of_allocated(self, target.into())
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The PASID. The number is good as long as this is, or what it was attached by.
    #[must_use]
    pub fn pasid(&self) -> Pasid {
        self.pasid
    }
}

impl Drop for AllocatedPasid {
    fn drop(&mut self) {
        self.device.group().give_back_pasid(self.pasid);
    }
}

impl fmt::Debug for AllocatedPasid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllocatedPasid")
            .field("device", &self.device)
            .field("pasid", &self.pasid)
            .finish()
    }
}

#[cfg(test)]
mod tests;
