//! A device as iommufd has it behind the relay.

use std::collections::BTreeMap;
use std::fmt;

use vtd_types::Pasid;

use crate::attachment::Attachment;
use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::fault_queue::FaultQueue;
use crate::hwpt::HwPt;
use crate::nest_parent::NestParent;
use crate::nested::NestedHwPt;
use crate::pasid::Pasid as HostPasid;
use crate::pasid_attachment::PasidTarget;
use crate::pasid_slot::PasidSlot;
use crate::target::Target;
use crate::vtd::Vtd;

/// A device for a [`Kernel`](super::Kernel), with what attaches it.
///
/// # Invariants
/// `table` is what the device is attached to, if that is a guest's table; and so it is of each PASID.
pub struct RelayedDevice {
    pub(super) device: Device,
    // Detached before the tables go.
    attachment: Option<Attachment>,
    pasids: BTreeMap<Pasid, AttachedPasid>,
    pub(super) table: Option<NestedHwPt<Vtd>>,
    /// What blocks it, as soon as it has come.
    pub(super) empty: Option<HwPt>,
    pub(super) fault_queue: Option<FaultQueue>,
    /// 0: it has none.
    pub(super) pasid_bits: u8,
}

/// One of its PASIDs that is attached.
struct AttachedPasid {
    // Detached before the table goes.
    slot: PasidSlot,
    table: Option<NestedHwPt<Vtd>>,
}

impl RelayedDevice {
    /// A device that is not attached, has no PASIDs, and does not wait for pages.
    #[must_use]
    pub fn new(device: Device) -> Self {
        Self {
            device,
            attachment: None,
            pasids: BTreeMap::new(),
            table: None,
            empty: None,
            fault_queue: None,
            pasid_bits: 0,
        }
    }

    /// With its page requests delivered to `queue`, from the next table on: what is read of it goes
    /// to [`Relay::page_requests`](super::Relay::page_requests).
    ///
    /// Only for a device that has PCI Express's PRI, which the kernel has turned on: the kernel
    /// refuses to attach another to the guest's tables (`ENODEV`).
    #[must_use]
    pub fn with_fault_queue(mut self, queue: FaultQueue) -> Self {
        self.fault_queue = Some(queue);
        self
    }

    /// With its PASIDs: each can have a table of the guest's. Since Linux 6.15.
    ///
    /// The [`NestParent`] must have been allocated for PASIDs
    /// ([`NestParentBuilder::pasid`](crate::NestParentBuilder::pasid)), or nothing of the device can
    /// be attached to it.
    ///
    /// # Errors
    /// The device, with [`Error::NoPasidLeft`] if the kernel says that it has none; else as for
    /// [`Device::hw_info`].
    #[expect(clippy::result_large_err, reason = "it gives back what it was given")]
    pub fn with_pasids(mut self) -> Result<Self, Refused<Self>> {
        match self.device.pasid_bits() {
            Err(error) => Err(Refused::new(self, error)),
            Ok(bits @ 0) => Err(Refused::new(self, Error::NoPasidLeft { bits })),
            Ok(bits) => {
                self.pasid_bits = bits;
                Ok(self)
            }
        }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The device alone. If it is attached it is detached, and so are its PASIDs.
    #[must_use]
    pub fn into_device(self) -> Device {
        self.device
    }

    /// The guest's table that translates for an address space.
    pub(super) fn table(&self, pasid: Option<Pasid>) -> Option<&NestedHwPt<Vtd>> {
        match pasid {
            None => self.table.as_ref(),
            Some(pasid) => self.pasids.get(&pasid)?.table.as_ref(),
        }
    }

    /// Moves it to `target`, or attaches it there. After an error it is where it was, or attached
    /// to nothing.
    pub(super) fn attach(&mut self, target: impl Into<Target>) -> Result<()> {
        match &mut self.attachment {
            Some(attachment) => attachment.replace(target)?,
            None => self.attachment = Some(self.device.attach(target)?),
        }
        Ok(())
    }

    /// Detaches it. After an error it is where it was.
    pub(super) fn detach(&mut self) -> Result<()> {
        if let Some(attachment) = self.attachment.take()
            && let Err(refused) = attachment.detach()
        {
            let (attachment, error) = refused.into_parts();
            self.attachment = Some(attachment);
            return Err(error);
        }
        self.table = None;
        Ok(())
    }

    /// Moves a PASID to `table`, or to `parent` if there is none, or attaches it there. After an
    /// error it is where it was.
    pub(super) fn attach_pasid(
        &mut self,
        pasid: Pasid,
        parent: &NestParent,
        table: Option<NestedHwPt<Vtd>>,
    ) -> Result<()> {
        let target: PasidTarget = match &table {
            Some(table) => table.into(),
            None => parent.into(),
        };
        if let Some(attached) = self.pasids.get_mut(&pasid) {
            attached.slot.set(target)?;
            attached.table = table;
            return Ok(());
        }
        let bits = self.pasid_bits;
        // The relay asks for no PASID 0.
        let number = HostPasid::new(pasid.get()).ok_or(Error::NoPasidLeft { bits })?;
        let mut slot = PasidSlot::new(&self.device, number);
        slot.set(target)?;
        self.pasids.insert(pasid, AttachedPasid { slot, table });
        Ok(())
    }

    /// Detaches a PASID. After an error it is where it was.
    pub(super) fn detach_pasid(&mut self, pasid: Pasid) -> Result<()> {
        if let Some(attached) = self.pasids.get_mut(&pasid) {
            attached.slot.clear()?;
            self.pasids.remove(&pasid);
        }
        Ok(())
    }
}

impl fmt::Debug for RelayedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayedDevice")
            .field("device", &self.device)
            .field("pasids", &self.pasids.keys())
            .field("pasid_bits", &self.pasid_bits)
            .finish_non_exhaustive()
    }
}
