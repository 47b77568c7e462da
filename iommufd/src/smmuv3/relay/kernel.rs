//! The devices and the SMMU that iommufd has.

use std::fmt;

use smmuv3_types::{InputAddress, Invalidation, InvalidationLimits, Stag, StreamId, SubstreamId};

use super::{Host, PageRequests, Place, RequestName, RequestedPage};
use crate::attachment::Attachment;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fault_queue::{FaultQueue, PageRequestGroup, PageResponse};
use crate::format::ViommuKind;
use crate::nested::NestedHwPt;
use crate::smmuv3::{Smmuv3, Smmuv3Demands, StaleAsids};
use crate::target::Target;
use crate::vdevice::VDevice;
use crate::viommu::Viommu;

/// A kind of virtual IOMMU of the SMMUv3 family: one that takes SMMUv3's tables and commands.
pub trait Smmuv3Kind:
    ViommuKind<Format = Smmuv3, VirtualId = StreamId, Stale = StaleAsids, Demands = Smmuv3Demands>
{
}

impl<V> Smmuv3Kind for V where
    V: ViommuKind<
            Format = Smmuv3,
            VirtualId = StreamId,
            Stale = StaleAsids,
            Demands = Smmuv3Demands,
        >
{
}

/// The host that iommufd is: a virtual SMMU, and the devices behind it.
///
/// | [`Place`] | what the device is attached to |
/// |---|---|
/// | `Blocked` | nothing |
/// | `Bypass` | the [`NestParent`](crate::NestParent) |
/// | `Translated` | a [`NestedHwPt`], through the [`VDevice`] of its stream |
///
/// A device moves between tables, and to and from the parent, by one atomic replace. For that it
/// must be alone in its IOMMU group.
///
/// The guest itself invalidates the ASIDs of tables that it leaves, by commands that the relay
/// passes on.
#[derive(Debug)]
pub struct Kernel<V: Smmuv3Kind = Smmuv3> {
    viommu: Viommu<V>,
}

impl<V: Smmuv3Kind> Kernel<V> {
    /// The host of this virtual SMMU, and no other's: a guest with several has a relay for each, and
    /// a [`NestParent`](crate::NestParent) for each. Virtual SMMUs on one parent have one VMID, so a
    /// guest that gives out ASIDs for each SMMU by itself would get the translations of another's.
    #[must_use]
    pub fn new(viommu: &Viommu<V>) -> Self {
        Self {
            viommu: viommu.clone(),
        }
    }

    /// The virtual SMMU.
    #[must_use]
    pub fn viommu(&self) -> &Viommu<V> {
        &self.viommu
    }

    fn target(&self, device: &RelayedDevice<V>, place: &Place) -> Result<Option<Target>> {
        let ste = match place {
            Place::Blocked => return Ok(None),
            Place::Bypass => return Ok(Some(self.viommu.parent().into())),
            Place::Translated(ste) => ste,
        };
        let Some(vdevice) = &device.vdevice else {
            return Err(Error::ForeignVDevice { what: "device" });
        };
        let mut builder = NestedHwPt::builder(&self.viommu, &device.device, ste);
        if let Some(queue) = &device.fault_queue {
            builder = builder.fault_queue(queue);
        }
        let nested = builder.allocate()?;
        let target = vdevice.through(&nested, StaleAsids::GuestInvalidates);
        Ok(Some(target))
    }
}

/// A device for a [`Kernel`], with what attaches it and what the guest knows it by.
///
/// # Invariants
/// While it is attached to a guest's tables, `vdevice` is there.
pub struct RelayedDevice<V: Smmuv3Kind = Smmuv3> {
    device: Device,
    // Detached before the guest's number is taken back.
    attachment: Option<Attachment>,
    vdevice: Option<VDevice<V>>,
    fault_queue: Option<FaultQueue>,
}

impl<V: Smmuv3Kind> RelayedDevice<V> {
    /// A device that is not attached, and has no [`VDevice`].
    #[must_use]
    pub fn new(device: Device) -> Self {
        Self {
            device,
            attachment: None,
            vdevice: None,
            fault_queue: None,
        }
    }

    /// With its stalled transactions delivered to `queue`, from the next table on: what is read of
    /// it goes to [`Relay::page_requests`](super::Relay::page_requests). Only for a device that can
    /// stall: the kernel does not look whether it can.
    #[must_use]
    pub fn with_fault_queue(mut self, queue: FaultQueue) -> Self {
        self.fault_queue = Some(queue);
        self
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
}

impl<V: Smmuv3Kind> fmt::Debug for RelayedDevice<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayedDevice")
            .field("device", &self.device)
            .field("vdevice", &self.vdevice)
            .finish_non_exhaustive()
    }
}

impl<V: Smmuv3Kind> Host for Kernel<V> {
    type Device = RelayedDevice<V>;
    type Requests = PageRequestGroup;
    type Error = Error;

    fn limits(&self) -> InvalidationLimits {
        *self.viommu.demands().limits()
    }

    fn invalidate(&mut self, commands: &[Invalidation]) -> Result<()> {
        self.viommu.invalidate(commands)
    }

    fn name(&mut self, device: &mut Self::Device, stream: Option<StreamId>) -> Result<()> {
        if let Some(old) = device.vdevice.take()
            && let Err(refused) = old.try_destroy()
        {
            let (old, error) = refused.into_parts();
            device.vdevice = Some(old);
            return Err(error);
        }
        if let Some(stream) = stream {
            device.vdevice = Some(VDevice::new(&self.viommu, &device.device, stream)?);
        }
        Ok(())
    }

    fn put(&mut self, device: &mut Self::Device, place: &Place) -> Result<()> {
        match (self.target(device, place)?, device.attachment.take()) {
            (Some(target), Some(mut attachment)) => {
                let moved = attachment.replace(target);
                device.attachment = Some(attachment);
                moved
            }
            (Some(target), None) => {
                device.attachment = Some(device.device.attach(target)?);
                Ok(())
            }
            (None, Some(attachment)) => attachment.detach().map_err(|refused| {
                let (attachment, error) = refused.into_parts();
                device.attachment = Some(attachment);
                error
            }),
            (None, None) => Ok(()),
        }
    }

    fn is_of(&self, device: &Self::Device, requests: &PageRequestGroup) -> bool {
        requests.device_key() == Some(device.device.key())
    }

    fn answer(&mut self, requests: PageRequestGroup, response: PageResponse) -> Result<()> {
        match requests.respond(response) {
            Ok(()) => Ok(()),
            Err(refused) => match refused.into_error() {
                Error::RequestGone => Ok(()),
                error => Err(error),
            },
        }
    }
}

/// On Arm a group is one stalled transaction, and the number of the group is its tag. (Linux 7.3
/// hands on no requests of PCI Express's PRI from an SMMU.)
impl PageRequests for PageRequestGroup {
    fn name(&self) -> Option<RequestName> {
        let number = self.requests().first()?.group().get();
        let stag = u16::try_from(number).ok()?;
        Some(RequestName::Stall(Stag::new(stag)))
    }

    fn pages(&self) -> impl Iterator<Item = RequestedPage> {
        self.requests().iter().map(|request| {
            let pasid = request.pasid().map_or(0, |pasid| pasid.get());
            RequestedPage {
                // Both have 20 bits.
                substream: SubstreamId::new(pasid).filter(|_| request.carries_pasid()),
                address: InputAddress::new(request.address().get()),
                permissions: request.permissions(),
            }
        })
    }
}
