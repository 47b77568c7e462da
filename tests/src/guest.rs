//! A guest behind the mock's virtual IOMMU.

use std::sync::Arc;

use iommufd::{Attachment, Ioas, Iommufd, NestParent, NestedHwPt, VDevice, Viommu};

use crate::mock::MockDevice;
use crate::mock::nesting::{CONFIG, MockViommu, OnViommu, VirtualNumber};
use crate::observe::Recorder;

/// The number by which a guest knows its first device.
pub const NUMBER: u32 = 0x99;

/// A virtual IOMMU, with what it takes, and what makes it of use.
#[derive(Debug)]
pub struct Guest {
    /// The virtual IOMMU.
    pub viommu: Viommu<MockViommu>,
    /// Its guest's physical addresses, for the hardware.
    pub parent: NestParent,
    /// Its guest's physical addresses.
    pub ioas: Ioas,
    /// The first device, which the guest does not know yet.
    pub device: MockDevice,
    /// The context.
    pub iommufd: Iommufd,
    /// What the context asks of the kernel.
    pub recorder: Arc<Recorder>,
}

impl Guest {
    /// A guest in a context of its own.
    #[must_use]
    pub fn new() -> Self {
        let (iommufd, recorder) = Recorder::context();
        let device = MockDevice::new(&iommufd).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let parent = NestParent::new(&ioas, &device).unwrap();
        Self {
            viommu: Viommu::new(&parent, &device).unwrap(),
            parent,
            ioas,
            device,
            iommufd,
            recorder,
        }
    }

    /// A table of the guest's.
    #[must_use]
    pub fn table(&self) -> NestedHwPt<OnViommu> {
        NestedHwPt::new(&self.viommu, &self.device, &CONFIG).unwrap()
    }

    /// The first device, as the guest knows it.
    #[must_use]
    pub fn vdevice(&self) -> VDevice<MockViommu> {
        self.knows(&self.device, NUMBER)
    }

    /// A device, as the guest knows it.
    #[must_use]
    pub fn knows(&self, device: &MockDevice, number: u32) -> VDevice<MockViommu> {
        VDevice::new(&self.viommu, device, VirtualNumber(number.into())).unwrap()
    }

    /// The first device attached to a table of the guest's, of which nothing else is kept.
    pub fn attachment(&self) -> Attachment {
        let target = self.vdevice().through(&self.table(), ());
        self.device.attach(target).unwrap()
    }

    /// Whether the virtual IOMMU knows a device as `number`.
    #[must_use]
    pub fn is_known(&self, number: u32) -> bool {
        use crate::mock::nesting::DeviceInvalidation;
        self.viommu
            .invalidate(&[DeviceInvalidation::of_all(number)])
            .is_ok()
    }
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}
