//! Calls about tables, and about virtual IOMMUs and what they have.

use iommufd::{HwPt, HwQueue, NestParent, NestedHwPt, VDevice, VEventQueue, Viommu};
use tests::mock::nesting::{
    CONFIG, DeviceInvalidation, OnParent, OnViommu, TableInvalidation, VirtualNumber,
};

use super::World;
use crate::calls::call::Call;
use crate::calls::places::range;
use crate::calls::pool::noted;

impl World {
    pub(super) fn make_table(&mut self, call: Call) -> Option<()> {
        match call {
            Call::HwPt {
                ioas,
                device,
                pasid,
                dirty,
                faults,
                queue,
            } => {
                let (ioas, device) = (self.spaces.get(ioas)?, self.devices.get(device)?);
                let mut builder = HwPt::builder(ioas, device)
                    .pasid(pasid)
                    .dirty_tracking(dirty);
                if let Some(queue) = self.queues.get(queue).filter(|_| faults) {
                    builder = builder.fault_queue(queue);
                }
                self.tables.keep(builder.allocate());
            }
            Call::Parent {
                ioas,
                device,
                pasid,
                dirty,
            } => {
                let (ioas, device) = (self.spaces.get(ioas)?, self.devices.get(device)?);
                let builder = NestParent::builder(ioas, device)
                    .pasid(pasid)
                    .dirty_tracking(dirty);
                self.parents.keep(builder.allocate());
            }
            Call::Nested {
                parent,
                device,
                pasid,
                faults,
                queue,
            } => {
                let (parent, device) = (self.parents.get(parent)?, self.devices.get(device)?);
                let mut builder =
                    NestedHwPt::<OnParent>::builder(parent, device, &CONFIG).pasid(pasid);
                if let Some(queue) = self.queues.get(queue).filter(|_| faults) {
                    builder = builder.fault_queue(queue);
                }
                self.nested.keep(builder.allocate());
            }
            Call::NestedThrough {
                viommu,
                device,
                faults,
                queue,
            } => {
                let (viommu, device) = (self.viommus.get(viommu)?, self.devices.get(device)?);
                let mut builder = NestedHwPt::<OnViommu>::builder(viommu, device, &CONFIG);
                if let Some(queue) = self.queues.get(queue).filter(|_| faults) {
                    builder = builder.fault_queue(queue);
                }
                self.through.keep(builder.allocate());
            }
            Call::Invalidate { nested, entry, all } => {
                let mut one = TableInvalidation::of(u32::from(entry % 6));
                one.flags = u32::from(all);
                let commands = [one, TableInvalidation::of(0)];
                noted(self.nested.get(nested)?.invalidate(&commands))?;
            }
            Call::InvalidateThrough {
                viommu,
                number,
                entry,
                all,
            } => {
                let mut one = DeviceInvalidation::of(u32::from(number % 4), u32::from(entry % 6));
                one.flags = u32::from(all);
                noted(self.viommus.get(viommu)?.invalidate(&[one, one]))?;
            }
            Call::Viommu { parent, device } => {
                let made = Viommu::new(self.parents.get(parent)?, self.devices.get(device)?);
                self.viommus.keep(made);
            }
            Call::VDevice {
                viommu,
                device,
                number,
            } => {
                let number = VirtualNumber(u64::from(number % 4));
                let made =
                    VDevice::new(self.viommus.get(viommu)?, self.devices.get(device)?, number);
                self.vdevices.keep(made);
            }
            Call::Events { viommu, depth } => {
                let made = VEventQueue::new(self.viommus.get(viommu)?, u32::from(depth % 4));
                self.events.keep(made);
            }
            Call::ReadEvents { queue } => drop(noted(self.events.get_mut(queue)?.read())),
            Call::HwQueue { viommu, at } => {
                let made = HwQueue::first(self.viommus.get(viommu)?, range(at)?);
                self.hw_queues.keep(made);
            }
            Call::HwQueueAfter { queue, at } => {
                let made = HwQueue::after(self.hw_queues.get(queue)?, range(at)?);
                self.hw_queues.keep(made);
            }
            _ => {}
        }
        Some(())
    }
}
