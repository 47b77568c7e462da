//! Whether a device may access memory, where no configuration space has that.

use iommufd_sys::vfio as sys;

use crate::device::OpenDevice;
use crate::error::Result;

/// Whether a device may access memory of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BusMaster {
    /// It may not.
    #[doc(alias = "VFIO_DEVICE_FEATURE_CLEAR_MASTER")]
    Off,
    /// It may, where the IOMMU lets it.
    #[doc(alias = "VFIO_DEVICE_FEATURE_SET_MASTER")]
    On,
}

impl OpenDevice {
    /// Lets a device that is no PCI function (one on an AMD CDX bus) access memory, or no longer.
    /// Of a PCI function that is [`ConfigSpace::enable_bus_master`](crate::ConfigSpace::enable_bus_master).
    ///
    /// Since Linux 6.7.
    ///
    /// # Errors
    /// [`FeatureError::NotThere`](crate::FeatureError::NotThere): the device has no such control.
    /// `EIO`: it does not answer. [`iommufd::Error::Forked`].
    #[doc(alias = "VFIO_DEVICE_FEATURE_BUS_MASTER")]
    pub fn set_bus_master(&self, bus_master: BusMaster) -> Result<()> {
        let op = match bus_master {
            BusMaster::Off => sys::VFIO_DEVICE_FEATURE_CLEAR_MASTER,
            BusMaster::On => sys::VFIO_DEVICE_FEATURE_SET_MASTER,
        };
        self.bound()
            .set_feature(&sys::vfio_device_feature_bus_master { op })
    }
}
