//! A device as iommufd has it behind the relay.

use std::fmt;

use super::kernel::Smmuv3Kind;
use crate::attachment::Attachment;
use crate::device::Device;
use crate::error::{Error, Refused, Result};
use crate::fault_queue::FaultQueue;
use crate::hw_info::Capabilities;
use crate::smmuv3::Smmuv3;
use crate::target::Target;
use crate::vdevice::VDevice;

/// A device for a [`Kernel`](super::Kernel), with what attaches it and what the guest knows it by.
///
/// # Invariants
/// While it is attached to tables that translate, `vdevice` is there.
pub struct RelayedDevice<V: Smmuv3Kind = Smmuv3> {
    pub(super) device: Device,
    // Detached before the guest's number is taken back.
    pub(super) attachment: Option<Attachment>,
    pub(super) vdevice: Option<VDevice<V>>,
    pub(super) fault_queue: Option<FaultQueue>,
    pub(super) ats: bool,
}

impl<V: Smmuv3Kind> RelayedDevice<V> {
    /// A device that is not attached, has no [`VDevice`], and does not cache translations (ATS).
    ///
    /// Its transactions that fault are terminated, whatever the guest's context descriptors say:
    /// see [`Smmuv3Demands::without_stalls`](crate::smmuv3::Smmuv3Demands::without_stalls).
    #[must_use]
    pub fn new(device: Device) -> Self {
        Self {
            device,
            attachment: None,
            vdevice: None,
            fault_queue: None,
            ats: false,
        }
    }

    /// With its stalled transactions delivered to `queue`, from the next table on: what is read of
    /// it goes to [`Relay::page_requests`](super::Relay::page_requests).
    ///
    /// Only for a device that can stall, which on a machine where not all can the firmware says of
    /// it (`dma-can-stall`). The kernel does not look whether it can: of another device a guest makes
    /// it warn, and has transactions stall that nothing ends (Linux 7.3).
    #[must_use]
    pub fn with_fault_queue(mut self, queue: FaultQueue) -> Self {
        self.fault_queue = Some(queue);
        self
    }

    /// The device has ATS: its configuration space has the capability. So the guest may turn it on
    /// by the entry of the stream, and its `CMD_ATC_INV` are passed on.
    ///
    /// Of a device without ATS the relay drops them. Such a device does not answer, and the host's
    /// queue, which is for all devices behind the SMMU, would wait for it.
    ///
    /// # Errors
    /// The device, with [`Error::AtsNotSupported`] if the kernel says so (since Linux 7.2: that there
    /// is no such capability, or that the root complex or the SMMU has no ATS); else as for
    /// [`Device::hw_info`].
    #[expect(clippy::result_large_err, reason = "it gives back what it was given")]
    pub fn with_ats(mut self) -> Result<Self, Refused<Self>> {
        match self.device.hw_info() {
            Err(error) => Err(Refused::new(self, error)),
            Ok(info) if info.capabilities.contains(Capabilities::ATS_NOT_SUPPORTED) => {
                Err(Refused::new(self, Error::AtsNotSupported))
            }
            Ok(_) => {
                self.ats = true;
                Ok(self)
            }
        }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The device alone. If it is attached it is detached.
    #[must_use]
    pub fn into_device(self) -> Device {
        self.device
    }

    /// Moves it to `target`, or attaches it there. After an error it is where it was, or attached
    /// to nothing.
    pub(super) fn attach(&mut self, target: Target) -> Result<()> {
        match &mut self.attachment {
            Some(attachment) => attachment.replace(target)?,
            None => self.attachment = Some(self.device.attach(target)?),
        }
        Ok(())
    }

    /// Detaches it. After an error it is where it was.
    pub(super) fn detach(&mut self) -> Result<()> {
        let Some(attachment) = self.attachment.take() else {
            return Ok(());
        };
        attachment.detach().map_err(|refused| {
            let (attachment, error) = refused.into_parts();
            self.attachment = Some(attachment);
            error
        })
    }
}

impl<V: Smmuv3Kind> fmt::Debug for RelayedDevice<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayedDevice")
            .field("device", &self.device)
            .field("vdevice", &self.vdevice)
            .field("ats", &self.ats)
            .finish_non_exhaustive()
    }
}
