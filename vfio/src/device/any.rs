//! A device of which nobody knows before the bind whether it is mediated.

use std::ops::Deref;

use iommufd::Ioas;

use super::Inner;
use crate::bound::Behind;
use crate::device::{Device, IoasAttachment, MediatedDevice, OpenDevice};

/// A bound device: one behind an IOMMU, or a mediated one.
///
/// What both can do is here: regions, interrupts and so on, by [`OpenDevice`], and being attached to
/// an address space, as a VMM does with the guest's memory. The rest is the [`Device`]'s.
///
/// Made by [`Cdev::bind_any`](crate::Cdev::bind_any), and by
/// [`PreBound::adopt`](crate::PreBound::adopt).
///
/// ```no_run
/// # fn example(cdev: vfio::Cdev, guest_memory: &iommufd::Ioas) -> Result<(), Box<dyn std::error::Error>> {
/// let device = cdev.bind_any(guest_memory.iommufd())?;
/// println!("{} regions", device.info()?.regions);
/// let attachment = device.attach(guest_memory)?;
/// if let Some(device) = device.as_device() {
///     println!("its IOMMU: {:?}", device.iommu().hw_info()?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AnyDevice {
    /// A device behind an IOMMU.
    Device(Device),
    /// A device that the kernel emulates.
    Mediated(MediatedDevice),
}

impl AnyDevice {
    /// The one that `behind` tells.
    pub(crate) fn new(inner: Inner, behind: Behind) -> Self {
        match behind {
            Behind::Emulation => Self::Mediated(MediatedDevice::new(inner)),
            // Whoever made it has refused what nothing stands before.
            Behind::Iommu | Behind::Nothing => Self::Device(Device::new(inner)),
        }
    }

    /// Attaches the device to an address space.
    ///
    /// # Errors
    /// As for [`Device::attach`].
    pub fn attach(&self, ioas: &Ioas) -> iommufd::Result<IoasAttachment> {
        let inner = match self {
            Self::Device(device) => &device.inner,
            Self::Mediated(device) => &device.inner,
        };
        IoasAttachment::new(&inner.iommu, ioas)
    }

    /// The device, if it is one behind an IOMMU.
    #[must_use]
    pub fn as_device(&self) -> Option<&Device> {
        match self {
            Self::Device(device) => Some(device),
            Self::Mediated(_) => None,
        }
    }
}

impl Deref for AnyDevice {
    type Target = OpenDevice;

    fn deref(&self) -> &OpenDevice {
        match self {
            Self::Device(device) => device,
            Self::Mediated(device) => device,
        }
    }
}
