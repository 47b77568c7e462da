//! Fixture `iommufd_viommu`: a virtual IOMMU, or none.

mod caches;
mod events;
mod making;
mod page;
mod queues;
mod requests;
mod tombstone;

use iommufd::{Attachment, Ioas, Iommufd, NestParent, NestedHwPt, VDevice, Viommu};
use tests::ids;
use tests::mock::MockDevice;
use tests::mock::nesting::{CONFIG, MockViommu, OnViommu, VirtualNumber};

use caches::vdevice_cache;
use events::vdevice_alloc;
use making::{viommu_auto_destroy, viommu_negative_tests};
use page::viommu_alloc_with_data;
use queues::hw_queue;
use requests::viommu_alloc_nested_iopf;
use tombstone::vdevice_tombstone;

per_variant! {
    Fixture [no_viommu, mock_viommu]:
    viommu_auto_destroy,
    viommu_negative_tests,
    viommu_alloc_nested_iopf,
    viommu_alloc_with_data,
    vdevice_alloc,
    vdevice_cache,
    hw_queue,
    vdevice_tombstone,
}

/// An address space, and perhaps a virtual IOMMU over it.
#[derive(Debug)]
struct Fixture {
    /// Nothing, to see what is refused without one.
    guest: Option<Guest>,
    ioas: Ioas,
    iommufd: Iommufd,
}

/// A virtual IOMMU, with a device that is attached to what the virtual IOMMU is over.
#[derive(Debug)]
struct Guest {
    attachment: Attachment,
    viommu: Viommu<MockViommu>,
    parent: NestParent,
    device: MockDevice,
}

impl Fixture {
    fn no_viommu() -> Self {
        let iommufd = Iommufd::open().unwrap();
        Self {
            guest: None,
            ioas: Ioas::new(&iommufd).unwrap(),
            iommufd,
        }
    }

    fn mock_viommu() -> Self {
        let fixture = Self::no_viommu();
        let device = MockDevice::new(&fixture.iommufd).unwrap();
        let parent = NestParent::new(&fixture.ioas, &device).unwrap();
        let guest = Guest {
            attachment: device.attach(&parent).unwrap(),
            viommu: Viommu::new(&parent, &device).unwrap(),
            parent,
            device,
        };
        Self {
            guest: Some(guest),
            ..fixture
        }
    }
}

impl Guest {
    /// The kernel's id of the virtual IOMMU.
    fn id(&self) -> u32 {
        ids::of(&self.viommu)
    }

    /// A table of the guest's.
    fn table(&self) -> NestedHwPt<OnViommu> {
        NestedHwPt::new(&self.viommu, &self.device, &CONFIG).unwrap()
    }

    /// The device, as the guest knows it.
    fn vdevice(&self, number: u64) -> VDevice<MockViommu> {
        VDevice::new(&self.viommu, &self.device, VirtualNumber(number)).unwrap()
    }
}
