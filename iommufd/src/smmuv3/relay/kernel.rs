//! The devices and the SMMU that iommufd has.

use smmuv3_types::{
    InputAddress, Invalidation, InvalidationLimits, NestedConfig, NestedSte, Stag, StreamId,
    SubstreamId,
};

use super::{Host, PageRequests, Place, RelayedDevice, RequestName, RequestedPage};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fault_queue::{PageRequestGroup, PageResponse};
use crate::format::ViommuKind;
use crate::nested::NestedHwPt;
use crate::relay::requests;
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
/// | `Blocked` | a [`NestedHwPt`] that aborts, the same for all devices |
/// | `Bypass` | the [`NestParent`](crate::NestParent) |
/// | `Translated` | a [`NestedHwPt`], through the [`VDevice`] of its stream |
///
/// So from [`plug`](super::Relay::plug) to [`unplug`](super::Relay::unplug) a device is attached, and
/// moves from one to the other by one atomic replace. On Arm the kernel sets up interrupts only for a
/// device that is attached, and a guest may set them up wherever its device is. The table that aborts
/// is made when the first device comes: to block a device no table has to be made. If the kernel
/// refuses all the same, the device is detached, as the last resort.
///
/// A device must be alone in its IOMMU group, as the kernel attaches whole groups. A device is
/// refused ([`Error::NotAlone`]) if another that is bound to the context is of its group, or if that
/// cannot be told. It must stay alone while it is behind the relay: one that is attached later, and is
/// of its group, or may be, keeps it from being moved, and then no `CMD_SYNC` completes. Of a group
/// with others that nobody has bound the device can bypass, but the kernel refuses to translate: it
/// would attach those, too, and they have no number.
///
/// While a device with ATS is being reset the kernel moves it nowhere (`EBUSY`). A VMM that resets a
/// device keeps the relay from moving it meanwhile, by the lock that it has around the relay.
///
/// What a guest's entry says is reduced once more to what the device has:
/// - without [`with_fault_queue`](RelayedDevice::with_fault_queue) stalls are disabled:
///   [`Smmuv3Demands::without_stalls`];
/// - without [`with_ats`](RelayedDevice::with_ats) ATS is off.
///
/// The guest itself invalidates the ASIDs of tables that it leaves, by commands that the relay
/// passes on.
#[derive(Debug)]
pub struct Kernel<V: Smmuv3Kind = Smmuv3> {
    viommu: Viommu<V>,
    /// What blocks, as soon as there was a device.
    abort: Option<NestedHwPt<Smmuv3>>,
}

impl<V: Smmuv3Kind> Kernel<V> {
    /// The host of this virtual SMMU, and no other's: a guest with several has a relay for each, and
    /// a [`NestParent`](crate::NestParent) for each. Virtual SMMUs on one parent have one VMID, so a
    /// guest that gives out ASIDs for each SMMU by itself would get the translations of another's.
    #[must_use]
    pub fn new(viommu: &Viommu<V>) -> Self {
        Self {
            viommu: viommu.clone(),
            abort: None,
        }
    }

    /// The virtual SMMU.
    #[must_use]
    pub fn viommu(&self) -> &Viommu<V> {
        &self.viommu
    }

    /// What blocks.
    fn abort(&mut self, device: &Device) -> Result<Target> {
        let table = match &mut self.abort {
            Some(table) => table,
            none => none.insert(NestedHwPt::new(&self.viommu, device, &NestedSte::abort())?),
        };
        Ok(Target::unnumbered(table))
    }

    /// What translates for the device by the guest's entry.
    fn translation(&self, device: &RelayedDevice<V>, ste: &NestedSte) -> Result<Target> {
        let Some(vdevice) = &device.vdevice else {
            return Err(Error::ForeignVDevice { what: "device" });
        };
        let ste = self.installed(device, ste);
        let mut builder = NestedHwPt::builder(&self.viommu, &device.device, &ste);
        if let Some(queue) = &device.fault_queue {
            builder = builder.fault_queue(queue);
        }
        Ok(vdevice.through(&builder.allocate()?, StaleAsids::GuestInvalidates))
    }

    /// What the kernel is given of the guest's entry.
    fn installed(&self, device: &RelayedDevice<V>, ste: &NestedSte) -> NestedSte {
        let ste = match ste.config() {
            NestedConfig::Translate(stage1) if !device.ats => {
                NestedSte::translate(stage1.with_full_ats(false))
            }
            _ => *ste,
        };
        match device.fault_queue {
            Some(_) => ste,
            None => self.viommu.demands().without_stalls(&ste),
        }
    }

    /// Blocks the device, if at all possible.
    fn block(&mut self, device: &mut RelayedDevice<V>) -> Result<()> {
        let abort = self.abort(&device.device);
        let Err(refused) = abort.and_then(|abort| device.attach(abort)) else {
            return Ok(());
        };
        // Its DMA is refused, too, while it is attached to nothing. But that costs it interrupts;
        // and it is not so while another of its group is attached.
        if matches!(device.device.siblings(), Ok(0)) && device.detach().is_ok() {
            return Ok(());
        }
        Err(refused)
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

    fn has_ats(&self, device: &Self::Device) -> bool {
        device.ats
    }

    fn enter(&mut self, device: &mut Self::Device) -> Result<()> {
        match device.device.siblings()? {
            0 => {}
            siblings => return Err(Error::NotAlone { siblings }),
        }
        let abort = self.abort(&device.device)?;
        device.attach(abort)
    }

    fn leave(&mut self, device: &mut Self::Device) -> Result<()> {
        device.detach()
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
        let target = match place {
            Place::Blocked => return self.block(device),
            Place::Bypass => self.viommu.parent().into(),
            Place::Translated(ste) => self.translation(device, ste)?,
        };
        device.attach(target)
    }

    fn is_of(&self, device: &Self::Device, requests: &PageRequestGroup) -> bool {
        requests::is_of(&device.device, requests)
    }

    fn answer(&mut self, requests: PageRequestGroup, response: PageResponse) -> Result<()> {
        requests::answer(requests, response)
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
