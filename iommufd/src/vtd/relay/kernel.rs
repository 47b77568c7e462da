//! The devices and the hardware that iommufd has.

use vtd_types::{
    InputAddress, Invalidation, NestedPasidEntry, PageRequestGroup as GroupIndex, Pasid,
};

use super::{Host, PageRequests, Place, RelayedDevice, RequestedPage};
use crate::error::{Error, Result};
use crate::fault_queue::{PageRequestGroup, PageResponse};
use crate::hwpt::HwPt;
use crate::ioas::Ioas;
use crate::nest_parent::NestParent;
use crate::nested::NestedHwPt;
use crate::relay::requests;
use crate::target::Target;
use crate::vtd::Vtd;

/// The host that iommufd is: the table of a guest's physical addresses, and the devices behind the
/// guest's unit.
///
/// | [`Place`] | requests without a PASID | requests with one |
/// |---|---|---|
/// | `Blocked` | a [`HwPt`] over an address space in which nothing is mapped | nothing |
/// | `Bypass` | the [`NestParent`] | the [`NestParent`] |
/// | `Translated` | a [`NestedHwPt`] of their own | a [`NestedHwPt`] of their own |
///
/// VT-d has no table that aborts. A PASID that is attached to nothing is blocked, and detaching it
/// cannot fail. A device could be blocked so, too, and its interrupts would go on: x86's do not go
/// through its tables. But then every other handle of the device could attach it, behind the
/// relay's back. So it is attached, to an empty table, which is made when the device comes: blocking
/// needs no memory of the relay's. If the kernel refuses that, the device is detached.
///
/// While a device is blocked, the guest's address space is without its reserved ranges (the
/// interrupts' `0xfee0_0000` to `0xfeef_ffff`). Who maps something there meanwhile keeps it blocked:
/// every further attach answers `EADDRINUSE`.
///
/// While a device with ATS is being reset the kernel moves it nowhere (`EBUSY`): what the guest's
/// entries say meanwhile is refused, and blocked until the guest invalidates them again. A VMM that
/// resets a device keeps the relay from moving it meanwhile, by the lock that it has around the relay.
///
/// A device comes with its attachments, and is alone in its IOMMU group: else others would move with
/// it. The parent must have been allocated for PASIDs
/// ([`NestParentBuilder::pasid`](crate::NestParentBuilder::pasid)) if a device is to have any.
#[derive(Debug)]
pub struct Kernel {
    parent: NestParent,
    /// Where nothing is mapped, as soon as there was a device.
    nothing: Option<Ioas>,
}

impl Kernel {
    /// The host of devices whose guest's physical addresses `parent` translates. A guest with several
    /// units can have a relay for each over the same parent, if the hardware behind them is alike.
    #[must_use]
    pub fn new(parent: &NestParent) -> Self {
        Self {
            parent: parent.clone(),
            nothing: None,
        }
    }

    /// The table of the guest's physical addresses.
    #[must_use]
    pub fn parent(&self) -> &NestParent {
        &self.parent
    }

    /// What blocks a device.
    fn empty(&mut self, device: &RelayedDevice) -> Result<HwPt> {
        let nothing = match &mut self.nothing {
            Some(nothing) => nothing,
            none => none.insert(Ioas::new(self.parent.iommufd())?),
        };
        HwPt::builder(nothing, &device.device)
            .pasid(device.has_pasids())
            .allocate()
    }

    /// What translates by the guest's entry.
    fn translation(
        &self,
        device: &RelayedDevice,
        entry: &NestedPasidEntry,
    ) -> Result<NestedHwPt<Vtd>> {
        let mut builder =
            NestedHwPt::builder(&self.parent, &device.device, entry).pasid(device.has_pasids());
        if let Some(queue) = &device.fault_queue {
            builder = builder.fault_queue(queue);
        }
        builder.allocate()
    }
}

impl Host for Kernel {
    type Device = RelayedDevice;
    type Requests = PageRequestGroup;
    type Error = Error;

    fn pasid_bits(&self, device: &Self::Device) -> u8 {
        device.pasid_bits
    }

    fn enter(&mut self, device: &mut Self::Device) -> Result<()> {
        match device.device.siblings()? {
            0 => {}
            siblings => return Err(Error::NotAlone { siblings }),
        }
        let empty = self.empty(device)?;
        device.attach(&empty)?;
        device.empty = Some(empty);
        Ok(())
    }

    fn leave(&mut self, device: &mut Self::Device) -> Result<()> {
        device.detach()
    }

    fn put(
        &mut self,
        device: &mut Self::Device,
        pasid: Option<Pasid>,
        place: &Place,
    ) -> Result<()> {
        let table = match place {
            Place::Blocked => return device.block(pasid),
            Place::Bypass => None,
            Place::Translated(entry) => Some(self.translation(device, entry)?),
        };
        match pasid {
            None => {
                let target: Target = match &table {
                    Some(table) => {
                        device.leave_a_table_that_waits()?;
                        table.into()
                    }
                    None => (&self.parent).into(),
                };
                device.attach(target)?;
                device.table = table;
                Ok(())
            }
            Some(pasid) => device.attach_pasid(pasid, &self.parent, table),
        }
    }

    fn invalidate(
        &mut self,
        device: &mut Self::Device,
        pasid: Option<Pasid>,
        invalidations: &[Invalidation],
    ) -> Result<()> {
        match device.table(pasid) {
            Some(table) => table.invalidate(invalidations),
            None => Ok(()),
        }
    }

    fn is_of(&self, device: &Self::Device, requests: &PageRequestGroup) -> bool {
        requests::is_of(&device.device, requests)
    }

    fn answer(&mut self, requests: PageRequestGroup, response: PageResponse) -> Result<()> {
        requests::answer(requests, response)
    }
}

/// Of a VT-d the number of a group is its index.
impl PageRequests for PageRequestGroup {
    fn group(&self) -> Option<GroupIndex> {
        let number = self.requests().first()?.group().get();
        GroupIndex::new(u16::try_from(number).ok()?)
    }

    fn pages(&self) -> impl Iterator<Item = RequestedPage> {
        self.requests().iter().map(|request| {
            let pasid = request.pasid().map_or(0, |pasid| pasid.get());
            RequestedPage {
                // Both have 20 bits.
                pasid: Pasid::new(pasid).filter(|_| request.carries_pasid()),
                address: InputAddress::new(request.address().get()),
                permissions: request.permissions(),
            }
        })
    }
}

/// What the host is asked about a device.
impl RelayedDevice {
    fn has_pasids(&self) -> bool {
        self.pasid_bits != 0
    }

    /// Blocks it, if it is attached to a guest's table with page requests, before it comes to another.
    ///
    /// Of a device that goes from one guest's table to the next the driver does not forget that the
    /// first had page requests (Linux 7.3, `intel_nested_attach_dev`): it counts one more each time,
    /// and warns when the device is removed from the machine. To any other table it does.
    fn leave_a_table_that_waits(&mut self) -> Result<()> {
        match &self.table {
            Some(table) if table.fault_queue().is_some() => self.block(None),
            _ => Ok(()),
        }
    }

    /// Blocks an address space, if at all possible.
    fn block(&mut self, pasid: Option<Pasid>) -> Result<()> {
        if let Some(pasid) = pasid {
            return self.detach_pasid(pasid);
        }
        let refused = match self.empty.clone() {
            Some(empty) => match self.attach(&empty) {
                Ok(()) => {
                    self.table = None;
                    return Ok(());
                }
                Err(refused) => refused,
            },
            // It has not come.
            None => return self.detach(),
        };
        // No other device of its group has it attached.
        match self.detach() {
            Ok(()) => Ok(()),
            Err(_) => Err(refused),
        }
    }
}
