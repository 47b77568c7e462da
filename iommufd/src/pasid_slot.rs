//! One of a device's PASIDs, attached or not.

use std::fmt;

use crate::device::Device;
use crate::error::{Refused, Result};
use crate::pasid::Pasid;
use crate::pasid_attachment::{PasidAttachment, PasidTarget};

/// One of a device's PASIDs, attached or not: what a VMM has for each entry of a guest's PASID table.
///
/// The guest writes the entry, changes it and clears it; [`set`](Self::set) and
/// [`clear`](Self::clear) have the hardware do the same, whatever was there before:
///
/// ```no_run
/// # fn example(device: &iommufd::Device) -> iommufd::Result<()> {
/// use std::collections::BTreeMap;
///
/// use iommufd::{HwPt, Pasid, PasidSlot};
///
/// let mut slots: BTreeMap<Pasid, PasidSlot> = BTreeMap::new();
/// let mut entry_has_changed = |pasid: Pasid, table: Option<&HwPt>| {
///     let slot = slots.entry(pasid).or_insert_with(|| PasidSlot::new(device, pasid));
///     match table {
///         Some(table) => slot.set(table),
///         None => slot.clear(),
///     }
/// };
/// # entry_has_changed(Pasid::new(1).expect("it is one"), None)
/// # }
/// ```
///
/// Dropping it detaches the PASID, as dropping its [`PasidAttachment`] would.
///
/// # System calls
/// Those of [`PasidAttachment`].
///
/// Since Linux 6.15.
#[must_use = "dropping a slot detaches the PASID"]
pub struct PasidSlot {
    device: Device,
    pasid: Pasid,
    attachment: Option<PasidAttachment>,
}

impl PasidSlot {
    /// `pasid` of `device`, not attached. Nothing is asked of the kernel, and nothing is claimed.
    pub fn new(device: &Device, pasid: Pasid) -> Self {
        Self {
            device: device.clone(),
            pasid,
            attachment: None,
        }
    }

    /// Attaches the PASID to `target`, or moves it there: see [`PasidAttachment::replace`].
    ///
    /// # Errors
    /// As for [`Device::attach_pasid`] and [`PasidAttachment::replace`], with everything as it was.
    pub fn set(&mut self, target: impl Into<PasidTarget>) -> Result<()> {
        match &mut self.attachment {
            Some(attachment) => attachment.replace(target),
            None => {
                let attachment = self.device.attach_pasid(self.pasid, target)?;
                self.attachment = Some(attachment);
                Ok(())
            }
        }
    }

    /// Detaches the PASID, if it is attached: from now on the IOMMU refuses DMA with it.
    ///
    /// # Errors
    /// As for [`PasidAttachment::detach`], with everything as it was.
    pub fn clear(&mut self) -> Result<()> {
        let Some(attachment) = self.attachment.take() else {
            return Ok(());
        };
        attachment.detach().map_err(|refused| {
            let (attachment, error) = Refused::into_parts(refused);
            self.attachment = Some(attachment);
            error
        })
    }

    /// The attachment, if there is one.
    #[must_use]
    pub fn attachment(&self) -> Option<&PasidAttachment> {
        self.attachment.as_ref()
    }

    /// What the PASID is attached to. `None` if it is not, and in a child of a fork.
    #[must_use]
    pub fn target(&self) -> Option<PasidTarget> {
        self.attachment.as_ref()?.target()
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The PASID.
    #[must_use]
    pub fn pasid(&self) -> Pasid {
        self.pasid
    }
}

impl fmt::Debug for PasidSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasidSlot")
            .field("device", &self.device)
            .field("pasid", &self.pasid)
            .field("attached", &self.attachment.is_some())
            .finish()
    }
}
